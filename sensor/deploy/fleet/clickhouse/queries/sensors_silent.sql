-- Sensors that have not been heard for five minutes, and those that never were.
SELECT sensors.sensor AS sensor, any(sensors.ministry) AS ministry, any(sensors.site) AS site, max(sensor_last.last) AS last_heard
FROM vigie.sensors AS sensors
LEFT JOIN vigie.sensor_last AS sensor_last ON sensor_last.sensor = sensors.sensor
GROUP BY sensor
HAVING last_heard < {now:DateTime} - INTERVAL 5 MINUTE
ORDER BY last_heard, sensor
