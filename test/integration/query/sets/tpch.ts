import { day, day_ms, fieldsOf, hundredths, Random, type SetTable, time } from './random.ts';

/** The eight tables of TPC-H. Money is decimal, a date is the midnight of its day. */
const nations = [
  'ALGERIA 0',
  'ARGENTINA 1',
  'BRAZIL 1',
  'CANADA 1',
  'EGYPT 4',
  'ETHIOPIA 0',
  'FRANCE 3',
  'GERMANY 3',
  'INDIA 2',
  'INDONESIA 2',
  'IRAN 4',
  'IRAQ 4',
  'JAPAN 2',
  'JORDAN 4',
  'KENYA 0',
  'MOROCCO 0',
  'MOZAMBIQUE 0',
  'PERU 1',
  'CHINA 2',
  'ROMANIA 3',
  'SAUDI_ARABIA 4',
  'VIETNAM 2',
  'RUSSIA 3',
  'UNITED_KINGDOM 3',
  'UNITED_STATES 1',
].map((text) => text.split(' '));
const regions = ['AFRICA', 'AMERICA', 'ASIA', 'EUROPE', 'MIDDLE EAST'];
const segments = ['AUTOMOBILE', 'BUILDING', 'FURNITURE', 'HOUSEHOLD', 'MACHINERY'];
const priorities = ['1-URGENT', '2-HIGH', '3-MEDIUM', '4-NOT SPECIFIED', '5-LOW'];
const modes = ['AIR', 'AIR REG', 'FOB', 'MAIL', 'RAIL', 'SHIP', 'TRUCK'];
const instructions = ['COLLECT COD', 'DELIVER IN PERSON', 'NONE', 'TAKE BACK RETURN'];
const colours = ['almond', 'azure', 'forest', 'green', 'ivory', 'lemon', 'navy', 'plum', 'salmon', 'wheat'];
const words = ['quickly', 'final', 'special', 'packages', 'requests', 'sleep', 'above', 'the', 'ironic', 'deposits'];
const sizes = ['STANDARD', 'SMALL', 'MEDIUM', 'LARGE', 'ECONOMY', 'PROMO'];
const finishes = ['ANODIZED', 'BURNISHED', 'PLATED', 'POLISHED', 'BRUSHED'];
const metals = ['TIN', 'NICKEL', 'BRASS', 'STEEL', 'COPPER'];
const containers = ['SM CASE', 'SM BOX', 'MED BAG', 'MED BOX', 'LG CASE', 'LG BOX', 'JUMBO PACK', 'WRAP JAR'];

/** What tables without a date of their own have as their time. */
const loaded_at = '2001-01-01T00:00:00Z';

const suppliers_max = 50;
const parts_max = 150;
const customers_max = 160;

const table = (name: string, timestampColumn: string, keyFields: string[], types: string): SetTable => {
  return { name, timestampColumn, keyFields, fields: fieldsOf(types), rows: [] };
};

export function tpchTables(): SetTable[] {
  const random = new Random(22);
  return [
    { ...region, rows: regions.map((r_name, r_regionkey) => ({ r_regionkey, r_name, r_comment: '', loaded_at })) },
    { ...nation, rows: nations.map(nationRow) },
    { ...supplier, rows: Array.from({ length: suppliers_max }, (_, i) => supplierRow(random, i + 1)) },
    { ...part, rows: Array.from({ length: parts_max }, (_, i) => partRow(random, i + 1)) },
    { ...partsupp, rows: Array.from({ length: parts_max * 4 }, (_, i) => partsuppRow(random, i)) },
    { ...customer, rows: Array.from({ length: customers_max }, (_, i) => customerRow(random, i + 1)) },
    ...ordersAndLines(random, 1_000),
  ];
}

const region = table(
  'region',
  'loaded_at',
  ['r_regionkey'],
  `integer: r_regionkey
string: r_name r_comment`,
);

const nation = table(
  'nation',
  'loaded_at',
  ['n_nationkey'],
  `integer: n_nationkey n_regionkey
string: n_name n_comment`,
);

const nationRow = ([name = '', key = '']: string[], n_nationkey: number) => {
  return { n_nationkey, n_name: name.replace('_', ' '), n_regionkey: Number(key), n_comment: 'none', loaded_at };
};

const supplier = table(
  'supplier',
  'loaded_at',
  ['s_suppkey'],
  `integer: s_suppkey s_nationkey
string: s_name s_address s_phone s_comment
decimal(15,2): s_acctbal`,
);

function supplierRow(random: Random, s_suppkey: number) {
  const s_nationkey = (s_suppkey * 7) % nations.length;
  return {
    s_suppkey,
    s_nationkey,
    loaded_at,
    s_name: `Supplier#${String(s_suppkey).padStart(9, '0')}`,
    s_address: random.words(words, 2),
    s_phone: phone(random, s_nationkey),
    s_acctbal: random.money(-999, 9_999),
    s_comment: s_suppkey % 9 === 0 ? 'blithe Customer said many Complaints' : random.words(words, 4),
  };
}

const part = table(
  'part',
  'loaded_at',
  ['p_partkey'],
  `integer: p_partkey p_size
string: p_name p_mfgr p_brand p_type p_container p_comment
decimal(15,2): p_retailprice`,
);

function partRow(random: Random, p_partkey: number) {
  const maker = random.whole(1, 3);
  return {
    p_partkey,
    p_name: random.words(colours, 4),
    p_mfgr: `Manufacturer#${maker}`,
    loaded_at,
    p_brand: `Brand#${maker}${random.whole(1, 3)}`,
    p_size: random.whole(1, 12),
    p_type: [sizes, finishes, metals].map((of) => random.pick(of)).join(' '),
    p_container: random.pick(containers),
    p_comment: random.words(words, 2),
    p_retailprice: hundredths(90_000 + p_partkey * 17),
  };
}

const partsupp = table(
  'partsupp',
  'loaded_at',
  ['ps_partkey', 'ps_suppkey'],
  `integer: ps_partkey ps_suppkey ps_availqty
decimal(15,2): ps_supplycost
string: ps_comment`,
);

/** One of the four suppliers that a part has. */
function supplierOf(partkey: number, which: number): number {
  return ((partkey + which * 13) % suppliers_max) + 1;
}

function partsuppRow(random: Random, i: number) {
  const ps_partkey = Math.floor(i / 4) + 1;
  return {
    ps_partkey,
    ps_suppkey: supplierOf(ps_partkey, i % 4),
    ps_availqty: random.whole(1, 9_999),
    loaded_at,
    ps_supplycost: random.money(1, 1_000),
    ps_comment: random.words(words, 3),
  };
}

const customer = table(
  'customer',
  'loaded_at',
  ['c_custkey'],
  `integer: c_custkey c_nationkey
string: c_name c_address c_phone c_mktsegment c_comment
decimal(15,2): c_acctbal`,
);

function customerRow(random: Random, c_custkey: number) {
  const c_nationkey = random.whole(0, nations.length - 1);
  return {
    c_custkey,
    c_nationkey,
    c_name: `Customer#${String(c_custkey).padStart(9, '0')}`,
    loaded_at,
    c_address: random.words(words, 2),
    c_phone: phone(random, c_nationkey),
    c_mktsegment: random.pick(segments),
    c_acctbal: random.money(-999, 9_999),
    c_comment: random.words(words, 4),
  };
}

const orders = table(
  'orders',
  'o_orderdate',
  ['o_orderkey'],
  `integer: o_orderkey o_custkey o_shippriority
string: o_orderstatus o_orderpriority o_clerk o_comment
decimal(15,2): o_totalprice`,
);

const lineitem = table(
  'lineitem',
  'l_shipdate',
  ['l_orderkey', 'l_linenumber'],
  `integer: l_orderkey l_partkey l_suppkey l_linenumber
decimal(15,2): l_quantity l_extendedprice l_discount l_tax
string: l_returnflag l_linestatus l_shipinstruct l_shipmode l_comment
timestamp: l_commitdate l_receiptdate`,
);

const newest_ms = day(1998, 8, 2);
/** What was shipped by then is done. */
const done_ms = day(1995, 6, 17);

function ordersAndLines(random: Random, count: number): SetTable[] {
  const [orderRows, lineRows]: [SetTable['rows'], SetTable['rows']] = [[], []];
  for (let n = 1; n <= count; n += 1) {
    const ordered_ms = random.whole(day(1992, 1, 1) / day_ms, newest_ms / day_ms) * day_ms;
    const lines = Array.from({ length: random.whole(1, 7) }, (_, i) => lineRow(random, n, i + 1, ordered_ms));
    lineRows.push(...lines);
    const open = lines.filter(({ l_linestatus }) => l_linestatus === 'O').length;
    // A third of the customers never buys anything.
    const o_custkey = random.whole(0, Math.floor(customers_max / 3) - 1) * 3 + random.whole(1, 2);
    orderRows.push({
      o_orderkey: n,
      o_custkey,
      o_orderdate: time(ordered_ms),
      o_orderpriority: random.pick(priorities),
      o_orderstatus: open === 0 ? 'F' : open === lines.length ? 'O' : 'P',
      o_totalprice: random.money(900, 400_000),
      o_clerk: `Clerk#${random.whole(1, 9)}`,
      o_shippriority: 0,
      o_comment: random.words(words, 6),
    });
  }
  return [
    { ...orders, rows: orderRows },
    { ...lineitem, rows: lineRows },
  ];
}

function lineRow(random: Random, l_orderkey: number, l_linenumber: number, ordered_ms: number) {
  const l_partkey = random.whole(1, parts_max);
  const quantity = random.whole(1, 50);
  const shipped_ms = ordered_ms + random.whole(1, 121) * day_ms;
  const received_ms = shipped_ms + random.whole(1, 30) * day_ms;
  return {
    l_orderkey,
    l_linenumber,
    l_partkey,
    l_suppkey: supplierOf(l_partkey, random.whole(0, 3)),
    l_quantity: `${quantity}`,
    l_extendedprice: hundredths(quantity * (90_000 + l_partkey * 17)),
    l_discount: hundredths(random.whole(0, 10)),
    l_tax: hundredths(random.whole(0, 8)),
    l_returnflag: received_ms <= done_ms ? random.pick(['R', 'A']) : 'N',
    l_linestatus: shipped_ms > done_ms ? 'O' : 'F',
    l_shipdate: time(shipped_ms),
    l_commitdate: time(ordered_ms + random.whole(30, 90) * day_ms),
    l_receiptdate: time(received_ms),
    l_shipinstruct: random.pick(instructions),
    l_shipmode: random.pick(modes),
    l_comment: random.words(words, 3),
  };
}

function phone(random: Random, nation_n: number): string {
  return `${nation_n + 10}-${random.whole(100, 999)}-${random.whole(100, 999)}-${random.whole(1_000, 9_999)}`;
}
