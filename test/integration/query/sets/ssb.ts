import { day, day_ms, fieldsOf, Random, type SetTable, time } from './random.ts';

/** The five tables of the Star Schema Benchmark, and its lines with all of their dimensions in one table. */
const nations = ['UNITED KINGDOM', 'UNITED STATES', 'CHINA', 'JAPAN', 'BRAZIL', 'FRANCE', 'EGYPT', 'KENYA'];
const regions = ['EUROPE', 'AMERICA', 'ASIA', 'ASIA', 'AMERICA', 'EUROPE', 'MIDDLE EAST', 'AFRICA'];
const months = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];
const weekdays = ['Sunday', 'Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday'];
const colours = ['almond', 'azure', 'forest', 'green', 'ivory', 'navy'];
const segments = ['AUTOMOBILE', 'BUILDING', 'FURNITURE', 'HOUSEHOLD', 'MACHINERY'];
const modes = ['AIR', 'FOB', 'MAIL', 'RAIL', 'SHIP', 'TRUCK'];
const priorities = ['1-URGENT', '2-HIGH', '3-MEDIUM', '4-NOT SPECI', '5-LOW'];
const loaded_at = '2001-01-01T00:00:00Z';

/** Months in which anything is ordered, in each of the seven years. */
const busy = [1, 2, 12];

type Row = Record<string, string | number>;

export function ssbTables(count: number): SetTable[] {
  const random = new Random(13);
  const customers = Array.from({ length: 150 }, (_, i) => personRow(random, 'c', i + 1));
  const suppliers = Array.from({ length: 60 }, (_, i) => personRow(random, 's', i + 1));
  const parts = Array.from({ length: 200 }, (_, i) => partRow(random, i + 1));
  const lines = Array.from({ length: count }, (_, i) => lineRow(random, i, [customers, suppliers, parts]));
  return [
    { ...customer, rows: customers },
    { ...supplier, rows: suppliers },
    { ...part, rows: parts },
    { ...date, rows: dateRows() },
    { ...lineorder, rows: lines },
    { ...flat, rows: lines.map((line) => flatRow(line, [customers, suppliers, parts])) },
  ];
}

const personFields = (of: string) =>
  `string: ${of}_name ${of}_address ${of}_city ${of}_nation ${of}_region ${of}_phone`;
const partFields = `string: p_name p_mfgr p_category p_brand p_color p_type p_container
integer: p_size`;
const lineFields = `integer: lo_orderkey lo_linenumber lo_custkey lo_partkey lo_suppkey lo_shippriority lo_quantity
integer: lo_extendedprice lo_ordtotalprice lo_discount lo_revenue lo_supplycost lo_tax
string: lo_orderpriority lo_shipmode
timestamp: lo_commitdate`;
const dateFields = `integer: d_year d_yearmonthnum d_daynuminweek d_daynuminmonth d_daynuminyear d_monthnuminyear d_weeknuminyear
string: d_date d_dayofweek d_month d_yearmonth d_sellingseason
boolean: d_lastdayinweekfl d_lastdayinmonthfl d_holidayfl d_weekdayfl`;

const table = (name: string, timestampColumn: string, keyFields: string[], types: string): SetTable => {
  return { name, timestampColumn, keyFields, fields: fieldsOf(types), rows: [] };
};

const customer = table(
  'customer',
  'loaded_at',
  ['c_custkey'],
  `integer: c_custkey
string: c_mktsegment
${personFields('c')}`,
);
const supplier = table(
  'supplier',
  'loaded_at',
  ['s_suppkey'],
  `integer: s_suppkey
${personFields('s')}`,
);
const part = table(
  'part',
  'loaded_at',
  ['p_partkey'],
  `integer: p_partkey
${partFields}`,
);
const date = table('date', 'd_datekey', [], dateFields);
const lineorder = table('lineorder', 'lo_orderdate', ['lo_orderkey', 'lo_linenumber'], lineFields);
const flat = table(
  'lineorder_flat',
  'lo_orderdate',
  ['lo_orderkey', 'lo_linenumber'],
  [lineFields, partFields, personFields('c'), personFields('s'), 'string: c_mktsegment'].join('\n'),
);

/** A customer or a supplier. */
function personRow(random: Random, of: 'c' | 's', key: number): Row {
  const nation = random.early(nations);
  const values: Row = {
    name: `Name#${String(key).padStart(9, '0')}`,
    address: `${random.whole(1, 99)} ${random.pick(colours)} road`,
    city: `${nation.slice(0, 9).padEnd(9)}${random.whole(1, 3)}`,
    nation,
    phone: `${random.whole(10, 34)}-555`,
    region: regions[nations.indexOf(nation)] ?? '',
  };
  const named = Object.fromEntries(Object.entries(values).map(([name, value]) => [`${of}_${name}`, value]));
  if (of === 's') return { ...named, s_suppkey: key, loaded_at };
  return { ...named, c_custkey: key, c_mktsegment: random.pick(segments), loaded_at };
}

function partRow(random: Random, p_partkey: number): Row {
  const p_mfgr = `MFGR#${random.whole(1, 2)}`;
  const p_category = `${p_mfgr}${random.whole(1, 4)}`;
  return {
    p_partkey,
    p_mfgr,
    p_category,
    p_brand: `${p_category}${random.whole(1, 40)}`,
    loaded_at,
    p_name: random.words(colours, 2),
    p_color: random.pick(colours),
    p_size: random.whole(1, 50),
    p_type: `PROMO ${random.pick(['TIN', 'STEEL'])}`,
    p_container: random.pick(['SM BOX', 'LG BOX']),
  };
}

function dateRows(): Record<string, unknown>[] {
  const rows: Record<string, unknown>[] = [];
  for (let at_ms = day(1992, 1, 1); at_ms < day(1999, 1, 1); at_ms += day_ms) {
    const [year, month, date_n] = time(at_ms).slice(0, 10).split('-').map(Number) as [number, number, number];
    if (!busy.includes(month)) continue;
    const inYear = (at_ms - day(year, 1, 1)) / day_ms;
    const inWeek = new Date(at_ms).getUTCDay();
    const isLastOfMonth = new Date(at_ms + day_ms).getUTCDate() === 1;
    rows.push({
      d_datekey: time(at_ms),
      d_date: time(at_ms).slice(0, 10),
      d_dayofweek: weekdays[inWeek],
      d_year: year,
      d_month: months[month - 1],
      d_yearmonthnum: year * 100 + month,
      d_yearmonth: `${months[month - 1]}${year}`,
      d_daynuminweek: inWeek + 1,
      d_daynuminmonth: date_n,
      d_daynuminyear: inYear + 1,
      d_monthnuminyear: month,
      d_weeknuminyear: Math.floor(inYear / 7) + 1,
      d_sellingseason: month === 12 ? 'Christmas' : 'Winter',
      d_lastdayinweekfl: inWeek === 6,
      d_lastdayinmonthfl: isLastOfMonth,
      d_holidayfl: inYear === 0,
      d_weekdayfl: inWeek > 0 && inWeek < 6,
    });
  }
  return rows;
}

function lineRow(random: Random, n: number, [customers, suppliers, parts]: [Row[], Row[], Row[]]): Row {
  const ordered_ms = day(random.whole(1992, 1998), random.pick(busy), random.whole(1, 28));
  const price = random.whole(90_000, 1_000_000);
  const lo_discount = random.whole(0, 10);
  return {
    lo_orderkey: Math.floor(n / 4) + 1,
    lo_linenumber: (n % 4) + 1,
    lo_orderdate: time(ordered_ms),
    lo_custkey: random.whole(1, customers.length),
    lo_suppkey: random.whole(1, suppliers.length),
    lo_partkey: random.whole(1, parts.length),
    lo_orderpriority: random.pick(priorities),
    lo_shippriority: 0,
    lo_quantity: random.whole(1, 50),
    lo_extendedprice: price,
    lo_ordtotalprice: price * 3,
    lo_discount,
    lo_revenue: Math.floor((price * (100 - lo_discount)) / 100),
    lo_supplycost: Math.floor(price / 2),
    lo_tax: random.whole(0, 8),
    lo_commitdate: time(ordered_ms + 30 * day_ms),
    lo_shipmode: random.pick(modes),
  };
}

function flatRow(line: Row, [customers, suppliers, parts]: [Row[], Row[], Row[]]): Row {
  const of = [
    customers[Number(line.lo_custkey) - 1],
    suppliers[Number(line.lo_suppkey) - 1],
    parts[Number(line.lo_partkey) - 1],
  ];
  const { loaded_at: _, c_custkey, s_suppkey, p_partkey, ...row } = Object.assign({}, ...of, line) as Row;
  return row;
}
