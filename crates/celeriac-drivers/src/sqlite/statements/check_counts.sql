SELECT (SELECT count(*) FROM message), (SELECT count(*) FROM ready), (SELECT count(*) FROM delayed),
       (SELECT count(*) FROM held), (SELECT count(*) FROM dead), (SELECT count(*) FROM result),
       (SELECT count(*) FROM result WHERE NOT final)
