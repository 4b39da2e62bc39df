-- What duplicates did not cost, by format
SELECT
    format,
    countIf(outcome = 'duplicate') AS duplicates,
    count() AS photos,
    sumIf(bytes, outcome = 'duplicate') AS bytes_not_stored,
    round(sumIf(width * height, outcome = 'duplicate') / 1e6, 1) AS megapixels_not_decoded,
    round(countIf(outcome = 'duplicate') * avgIf(transform_ms, outcome = 'original')) AS transform_ms_saved
FROM uploads
WHERE outcome IN ('original', 'duplicate')
GROUP BY format
ORDER BY duplicates DESC, format
