-- Bytes of incidents by the region in the services' host names, in both directions.
SELECT if(region.1 = '', 'none in the name', region.1) AS region_name, sum(region.2) AS bytes_toserver, sum(region.3) AS bytes_toclient
FROM
(
    SELECT incident, argMaxMerge(regions) AS regions
    FROM vigie.incident_totals
    WHERE day >= {from:Date} AND day <= {to:Date}
    GROUP BY ministry, site, day, incident
)
ARRAY JOIN regions AS region
GROUP BY region_name
ORDER BY bytes_toclient DESC, region_name
