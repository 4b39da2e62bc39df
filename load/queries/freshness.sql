-- How soon uploads were queryable, by minute of their arrival
SELECT
    toStartOfMinute(append_time) AS minute,
    count() AS uploads,
    round(quantileExact(0.5)(date_diff('millisecond', append_time, loaded_at))) AS p50_ms,
    round(quantileExact(0.99)(date_diff('millisecond', append_time, loaded_at))) AS p99_ms,
    max(date_diff('millisecond', append_time, loaded_at)) AS max_ms
FROM uploads
WHERE append_time IS NOT NULL
GROUP BY minute
ORDER BY minute
