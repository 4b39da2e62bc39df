-- The longest sessions of uploaders
SELECT
    key AS uploader,
    window_start AS began,
    window_end AS ended,
    date_diff('second', window_start, window_end) AS seconds,
    count AS uploads,
    bytes_in,
    final
FROM windows_latest
WHERE aggregate = 'session-5m-uploader'
ORDER BY seconds DESC, began DESC, uploader
LIMIT 50
