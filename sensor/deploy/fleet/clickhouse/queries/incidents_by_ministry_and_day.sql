-- Incidents by ministry and day.
SELECT day, ministry, uniqExactMerge(incidents) AS incidents
FROM vigie.incidents_by_day
WHERE day >= {from:Date} AND day <= {to:Date}
GROUP BY day, ministry
ORDER BY day, ministry
