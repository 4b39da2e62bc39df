-- Photos by camera
SELECT
    camera_make,
    camera_model,
    count() AS photos,
    countIf(latitude IS NOT NULL) AS with_place,
    round(avg(width * height) / 1e6, 1) AS megapixels
FROM uploads
WHERE outcome IN ('original', 'duplicate') AND camera_model IS NOT NULL
GROUP BY camera_make, camera_model
ORDER BY photos DESC, camera_make, camera_model
LIMIT 50
