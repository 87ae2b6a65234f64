-- Incidents of one ministry on one day, newest first.
SELECT incident, any(service) AS of_service, argMaxMerge(verdict) AS newest_verdict, argMaxMerge(state) AS newest_state, argMaxMerge(client) AS newest_client, site, max(last) AS last_seen
FROM vigie.incident_totals
WHERE ministry = {ministry:String} AND day = {to:Date}
GROUP BY ministry, site, day, incident
ORDER BY last_seen DESC
LIMIT 500
