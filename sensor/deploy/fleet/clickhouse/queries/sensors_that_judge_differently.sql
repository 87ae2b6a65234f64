-- Sensors whose signatures are not those of most sensors, or whose policy is not that of most sensors of their ministry.
WITH
    judged AS
    (
        SELECT sensor_last.sensor AS sensor, any(sensors.ministry) AS ministry, argMaxIfMerge(sensor_last.policy) AS policy, argMaxIfMerge(sensor_last.signatures) AS signatures
        FROM vigie.sensor_last AS sensor_last
        LEFT JOIN vigie.sensors AS sensors ON sensors.sensor = sensor_last.sensor
        GROUP BY sensor
    ),
    most AS (SELECT topK(1)(signatures)[1] AS usual_signatures FROM judged WHERE signatures != ''),
    most_of_ministry AS (SELECT ministry, topK(1)(policy)[1] AS usual_policy FROM judged WHERE policy != '' GROUP BY ministry)
SELECT judged.sensor AS sensor, judged.ministry AS ministry, judged.policy != most_of_ministry.usual_policy AS other_policy, judged.signatures != (SELECT usual_signatures FROM most) AS other_signatures
FROM judged
LEFT JOIN most_of_ministry ON most_of_ministry.ministry = judged.ministry
WHERE (judged.policy != '' AND other_policy) OR (judged.signatures != '' AND other_signatures)
ORDER BY sensor
