-- Incidents by service and ban.
SELECT service, ban, uniqExactMerge(incidents) AS incidents
FROM vigie.incidents_by_day
WHERE day >= {from:Date} AND day <= {to:Date}
GROUP BY service, ban
ORDER BY incidents DESC, service, ban
