-- Uploads that windows do not count, by aggregate and cause
SELECT
    aggregate,
    cause,
    uniqExact(src_topic_id, src_partition, src_offset) AS uploads,
    count() AS windows,
    round(quantileExact(0.5)(date_diff('millisecond', event_time, stream_time))) AS behind_p50_ms,
    max(date_diff('millisecond', event_time, stream_time)) AS behind_max_ms
FROM late_uploads
GROUP BY aggregate, cause
ORDER BY aggregate, cause
