-- Of the minutes of the period, how many each site was seen, seen with losses, blind, or not heard of, in percent of the
-- minutes that its interfaces could have been seen.
SELECT ministry, site, round(100 * sum(seen) / sum(possible), 2) AS seen_percent, round(100 * sum(lossy) / sum(possible), 2) AS lossy_percent, round(100 * sum(blind) / sum(possible), 2) AS blind_percent, round(100 - seen_percent - blind_percent, 2) AS silent_percent
FROM
(
    SELECT ministry, site, sensor, interface,
        groupBitmapMerge(minutes) - groupBitmapMerge(blind_minutes) AS seen,
        groupBitmapMerge(blind_minutes) AS blind,
        groupBitmapMerge(lossy_minutes) AS lossy,
        1440 * (dateDiff('day', {from:Date}, {to:Date}) + 1) AS possible
    FROM vigie.coverage_by_hour
    WHERE hour >= toDateTime({from:Date}, 'UTC') AND hour < toDateTime({to:Date} + 1, 'UTC')
    GROUP BY ministry, site, sensor, interface
)
GROUP BY ministry, site
ORDER BY seen_percent, ministry, site
