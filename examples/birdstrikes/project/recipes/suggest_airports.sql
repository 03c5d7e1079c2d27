-- For each airport name used in strikes, the airport that it most likely is: by the likeness of the names (with the city
-- put before the airport's own name, and by the city alone), and better if the state is the same. 1 is the same name.
WITH
  state_of (name, code) AS (
    VALUES ('Alabama', 'AL'), ('Alaska', 'AK'), ('Arizona', 'AZ'), ('Arkansas', 'AR'), ('California', 'CA'),
           ('Colorado', 'CO'), ('Connecticut', 'CT'), ('DC', 'DC'), ('Delaware', 'DE'), ('Florida', 'FL'),
           ('Georgia', 'GA'), ('Hawaii', 'HI'), ('Idaho', 'ID'), ('Illinois', 'IL'), ('Indiana', 'IN'), ('Iowa', 'IA'),
           ('Kansas', 'KS'), ('Kentucky', 'KY'), ('Louisiana', 'LA'), ('Maine', 'ME'), ('Maryland', 'MD'),
           ('Massachusetts', 'MA'), ('Michigan', 'MI'), ('Minnesota', 'MN'), ('Mississippi', 'MS'), ('Missouri', 'MO'),
           ('Montana', 'MT'), ('Nebraska', 'NE'), ('Nevada', 'NV'), ('New Hampshire', 'NH'), ('New Jersey', 'NJ'),
           ('New Mexico', 'NM'), ('New York', 'NY'), ('North Carolina', 'NC'), ('North Dakota', 'ND'), ('Ohio', 'OH'),
           ('Oklahoma', 'OK'), ('Oregon', 'OR'), ('Pennsylvania', 'PA'), ('Rhode Island', 'RI'),
           ('South Carolina', 'SC'), ('South Dakota', 'SD'), ('Tennessee', 'TN'), ('Texas', 'TX'), ('Utah', 'UT'),
           ('Vermont', 'VT'), ('Virginia', 'VA'), ('Washington', 'WA'), ('West Virginia', 'WV'), ('Wisconsin', 'WI'),
           ('Wyoming', 'WY')
  ),
  reported AS (
    SELECT airport_name, min(origin_state) AS origin_state, count(*) AS strikes
    FROM strikes
    GROUP BY airport_name
  ),
  -- Both sides in the same spelling: small letters, no punctuation, no `airport`, abbreviations written out.
  written (kind, id, text) AS (
    SELECT 'reported', airport_name, ' ' || normalize_text(airport_name) || ' ' FROM reported
    UNION ALL SELECT 'airport', iata, ' ' || normalize_text(name) || ' ' FROM airports
  ),
  plain (kind, id, text) AS (
    SELECT kind, id, trim(
      replace(replace(replace(replace(replace(replace(replace(replace(text,
        ' arpt ', ' '), ' airport ', ' '),
        ' intl ', ' international '), ' int l ', ' international '), ' natl ', ' national '),
        ' metro ', ' metropolitan '), ' afb ', ' air force base '), ' wash ', ' washington '))
    FROM written
  ),
  scored AS (
    SELECT
      reported.airport_name,
      reported.origin_state,
      reported.strikes,
      airport.iata,
      0.85 * max(
        trigram_similarity(name.text, plain.text),
        0.95 * trigram_similarity(name.text, airport.city || ' ' || plain.text),
        0.70 * trigram_similarity(name.text, airport.city)
      ) + 0.15 * (airport.state = state_of.code) AS score
    FROM reported
    JOIN plain AS name ON name.kind = 'reported' AND name.id = reported.airport_name
    LEFT JOIN state_of ON state_of.name = reported.origin_state
    CROSS JOIN airports AS airport
    JOIN plain ON plain.kind = 'airport' AND plain.id = airport.iata
  ),
  ranked AS (
    SELECT *, row_number() OVER (PARTITION BY airport_name ORDER BY score DESC, iata) AS place
    FROM scored
  )
SELECT
  airport_name,
  origin_state,
  strikes,
  iata,
  round(score, 3) AS score,
  NULL AS reviewed,
  NULL AS comments
FROM ranked
WHERE place = 1
ORDER BY airport_name
