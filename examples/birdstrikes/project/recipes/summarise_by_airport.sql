-- What the pipeline delivers. Correct a strike or a match, build, and these figures change.
SELECT
  match.iata,
  airport.name,
  airport.city,
  airport.state,
  match.reviewed                                        AS match_reviewed,
  count(*)                                              AS strikes,
  count(*) FILTER (WHERE strike.damage <> 'None')       AS damaging_strikes,
  count(*) FILTER (WHERE strike.size = 'Large')         AS large_animals,
  sum(strike.cost_total)                                AS cost_total,
  round(avg(strike.speed_knots), 1)                     AS speed_knots_mean,
  max(strike.flight_date)                               AS last_strike
FROM strikes_edited AS strike
JOIN airport_matches_edited AS match ON match.airport_name = strike.airport_name
LEFT JOIN airports AS airport ON airport.iata = match.iata
GROUP BY match.iata, airport.name, airport.city, airport.state, match.reviewed
ORDER BY strikes DESC, match.iata
