-- 1.1 in one table: What discounts of small orders brought in a year.
SELECT sum(lo_extendedprice * lo_discount) AS revenue
FROM lineorder_flat
WHERE toYear(lo_orderdate) = 1994 AND lo_discount BETWEEN 1 AND 3 AND lo_quantity < 25;
-- 1.2 in one table: In a month.
SELECT sum(lo_extendedprice * lo_discount) AS revenue
FROM lineorder_flat
WHERE toYYYYMM(lo_orderdate) = 199502 AND lo_discount BETWEEN 4 AND 6 AND lo_quantity BETWEEN 26 AND 35;
-- 1.3 in one table: In a week.
SELECT sum(lo_extendedprice * lo_discount) AS revenue
FROM lineorder_flat
WHERE toISOWeek(lo_orderdate) = 6 AND toYear(lo_orderdate) = 1996 AND lo_discount BETWEEN 2 AND 9 AND lo_quantity BETWEEN 16 AND 45;
-- 2.1 in one table: Brands of a category, by years.
SELECT sum(lo_revenue), toYear(lo_orderdate) AS year, p_brand
FROM lineorder_flat
WHERE p_category = 'MFGR#12' AND s_region = 'AMERICA'
GROUP BY year, p_brand
ORDER BY year, p_brand;
-- 2.2 in one table: A range of brands.
SELECT sum(lo_revenue), toYear(lo_orderdate) AS year, p_brand
FROM lineorder_flat
WHERE p_brand >= 'MFGR#2221' AND p_brand <= 'MFGR#2229' AND s_region = 'ASIA'
GROUP BY year, p_brand
ORDER BY year, p_brand;
-- 2.3 in one table: One brand.
SELECT sum(lo_revenue), toYear(lo_orderdate) AS year, p_brand
FROM lineorder_flat
WHERE p_brand = 'MFGR#1121' AND s_region = 'EUROPE'
GROUP BY year, p_brand
ORDER BY year, p_brand;
-- 3.1 in one table: Trade within a region, by nations.
SELECT c_nation, s_nation, toYear(lo_orderdate) AS year, sum(lo_revenue) AS revenue
FROM lineorder_flat
WHERE c_region = 'ASIA' AND s_region = 'ASIA' AND year >= 1992 AND year <= 1997
GROUP BY c_nation, s_nation, year
ORDER BY year ASC, revenue DESC;
-- 3.2 in one table: Within a nation, by cities.
SELECT c_city, s_city, toYear(lo_orderdate) AS year, sum(lo_revenue) AS revenue
FROM lineorder_flat
WHERE c_nation = 'UNITED STATES' AND s_nation = 'UNITED STATES' AND year >= 1992 AND year <= 1997
GROUP BY c_city, s_city, year
ORDER BY year ASC, revenue DESC;
-- 3.3 in one table: Between two cities.
SELECT c_city, s_city, toYear(lo_orderdate) AS year, sum(lo_revenue) AS revenue
FROM lineorder_flat
WHERE (c_city = 'UNITED KI1' OR c_city = 'UNITED KI3') AND (s_city = 'UNITED KI1' OR s_city = 'UNITED KI3') AND year >= 1992 AND year <= 1997
GROUP BY c_city, s_city, year
ORDER BY year ASC, revenue DESC;
-- 3.4 in one table: In a month.
SELECT c_city, s_city, toYear(lo_orderdate) AS year, sum(lo_revenue) AS revenue
FROM lineorder_flat
WHERE (c_city = 'UNITED KI1' OR c_city = 'UNITED KI3') AND (s_city = 'UNITED KI1' OR s_city = 'UNITED KI3') AND toYYYYMM(lo_orderdate) = 199712
GROUP BY c_city, s_city, year
ORDER BY year ASC, revenue DESC;
-- 4.1 in one table: What was earned, by the nation of customers.
SELECT toYear(lo_orderdate) AS year, c_nation, sum(lo_revenue - lo_supplycost) AS profit
FROM lineorder_flat
WHERE c_region = 'AMERICA' AND s_region = 'AMERICA' AND (p_mfgr = 'MFGR#1' OR p_mfgr = 'MFGR#2')
GROUP BY year, c_nation
ORDER BY year ASC, c_nation ASC;
-- 4.2 in one table: By the nation of suppliers, and categories.
SELECT toYear(lo_orderdate) AS year, s_nation, p_category, sum(lo_revenue - lo_supplycost) AS profit
FROM lineorder_flat
WHERE c_region = 'AMERICA' AND s_region = 'AMERICA' AND (year = 1996 OR year = 1998) AND (p_mfgr = 'MFGR#1' OR p_mfgr = 'MFGR#2')
GROUP BY year, s_nation, p_category
ORDER BY year ASC, s_nation ASC, p_category ASC;
-- 4.3 in one table: By cities and brands.
SELECT toYear(lo_orderdate) AS year, s_city, p_brand, sum(lo_revenue - lo_supplycost) AS profit
FROM lineorder_flat
WHERE s_nation = 'UNITED STATES' AND (year = 1996 OR year = 1998) AND p_category = 'MFGR#14'
GROUP BY year, s_city, p_brand
ORDER BY year ASC, s_city ASC, p_brand ASC;
