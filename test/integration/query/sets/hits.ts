import { day, day_ms, fieldsOf, Random, type SetTable, time } from './random.ts';

/** The one table of ClickBench: a request to a web page in each row, in 105 columns. */
const fields = fieldsOf(`
timestamp: EventTime EventDate ClientEventTime LocalEventTime
integer: WatchID JavaEnable GoodEvent CounterID ClientIP RegionID UserID CounterClass OS UserAgent IsRefresh RefererCategoryID
integer: RefererRegionID URLCategoryID URLRegionID ResolutionWidth ResolutionHeight ResolutionDepth FlashMajor FlashMinor
integer: NetMajor NetMinor UserAgentMajor CookieEnable JavascriptEnable IsMobile MobilePhone IPNetworkID TraficSourceID
integer: SearchEngineID AdvEngineID IsArtifical WindowClientWidth WindowClientHeight ClientTimeZone SilverlightVersion1
integer: SilverlightVersion2 SilverlightVersion3 SilverlightVersion4 CodeVersion IsLink IsDownload IsNotBounce FUniqID HID
integer: IsOldCounter IsEvent IsParameter DontCountHits WithHash Age Sex Income Interests Robotness RemoteIP WindowName
integer: OpenerName HistoryLength HTTPError SendTiming DNSTiming ConnectTiming ResponseStartTiming ResponseEndTiming
integer: FetchTiming SocialSourceNetworkID ParamPrice ParamCurrencyID HasGCLID RefererHash URLHash CLID
string: Title URL Referer FlashMinor2 UserAgentMinor MobilePhoneModel Params SearchPhrase PageCharset OriginalURL HitColor
string: BrowserLanguage BrowserCountry SocialNetwork SocialAction SocialSourcePage ParamOrderID ParamCurrency
string: OpenstatServiceName OpenstatCampaignID OpenstatAdID OpenstatSourceID UTMSource UTMMedium UTMCampaign UTMContent
string: UTMTerm FromTag
`);

const hosts = ['shop.example.org', 'www.google.example', 'news.example.net', 'maps.google.example', 'www.example.com'];
const paths = ['', 'index', 'garden/roses', 'cars?make=volvo', 'google_play', 'weather/tomorrow', 'a/b/c'];
const titles = ['Roses for the garden', 'Google says so', 'Used cars', 'The weather', 'Maps | Google', ''];
const phrases = [
  'red roses',
  'used cars',
  'weather tomorrow',
  'maps',
  'ЖК телевизор',
  "o'clock",
  'how to sew',
  'train',
];
const phones = ['', '', '', 'iPhone 2', 'N8', 'Galaxy', 'Xperia'];

/** Hashes that the queries ask for. */
const hashes = ['3594120000172545465', '2868770270353813622', '-1216690514'];

export function hitsTables(count: number): SetTable[] {
  const random = new Random(43);
  const users = Array.from({ length: 300 }, () => random.long());
  const rows = Array.from({ length: count }, () => hit(random, users));
  const [first] = rows;
  if (first !== undefined) first.UserID = '435090932899640449';
  return [{ name: 'hits', timestampColumn: 'EventTime', keyFields: ['CounterID'], fields, rows }];
}

function hit(random: Random, users: string[]): Record<string, unknown> {
  const at_ms = day(2013, 7, random.whole(1, 31)) + random.whole(0, day_ms / 1_000 - 1) * 1_000;
  const row: Record<string, unknown> = {};
  for (const { name, type } of fields) {
    if (type === 'integer') row[name] = random.whole(0, 3);
    if (type === 'string') row[name] = random.pick(['', 'a', 'b']);
  }
  const phone = random.pick(phones);
  return {
    ...row,
    EventTime: time(at_ms),
    EventDate: time(at_ms - (at_ms % day_ms)),
    ClientEventTime: time(at_ms + 1_000),
    LocalEventTime: time(at_ms - 7_200_000),
    WatchID: random.long(),
    UserID: random.early(users),
    CounterID: random.pick([62, 62, 62, 7, 911, -5]),
    ClientIP: random.whole(-2_000, 2_000) * 1_000_000,
    RegionID: random.early([229, 2, 208, 1, 34, 158, 107, 42, 47, 50, 59, 66]),
    MobilePhoneModel: phone,
    MobilePhone: phone === '' ? 0 : phones.indexOf(phone),
    AdvEngineID: random.pick([0, 0, 0, 0, 2, 27, 13]),
    ResolutionWidth: random.pick([0, 1_024, 1_368, 1_638, 1_996]),
    TraficSourceID: random.whole(-1, 7),
    SearchPhrase: random.chance(0.4) ? random.early(phrases) : '',
    Title: random.pick(titles),
    URL: random.chance(0.05) ? '' : url(random),
    Referer: random.chance(0.2) ? '' : url(random),
    IsRefresh: random.whole(0, 1),
    DontCountHits: random.whole(0, 1),
    URLHash: random.pick(hashes),
    RefererHash: random.pick(hashes),
    FUniqID: random.long(),
    WindowClientWidth: random.whole(20, 60) * 32,
    WindowClientHeight: random.whole(10, 40) * 32,
  };
}

function url(random: Random): string {
  return `${random.pick(['http', 'https'])}://${random.pick(hosts)}/${random.early(paths)}`;
}
