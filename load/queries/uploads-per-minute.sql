-- Uploads a minute by outcome, from the rollup
SELECT
    toStartOfMinute(event_time) AS minute,
    outcome,
    count() AS uploads,
    sum(bytes) AS bytes
FROM uploads
GROUP BY toStartOfMinute(event_time), outcome
ORDER BY minute, outcome
