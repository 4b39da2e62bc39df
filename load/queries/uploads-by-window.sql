-- Uploads by windows of a minute, over the last hour of event time that there is
SELECT
    window_start,
    count AS uploads,
    bytes_in,
    bytes_out,
    uploaders,
    round(latency_ms_p95, 1) AS latency_ms_p95,
    final
FROM windows_latest
WHERE aggregate = 'tumbling-1m-all'
    AND window_start > (SELECT max(window_start) FROM windows WHERE aggregate = 'tumbling-1m-all') - INTERVAL 1 HOUR
ORDER BY window_start
