/**
 * Functions that SQL may not call, by the reason. Names in lower case, from ClickHouse 26.7. Functions in no list are rejected
 * too. `qualify` replaces the functions that return the database before SQL is checked.
 */
const denied: Record<string, string> = {
  'reads dictionaries': `
dictget dictgetall dictgetchildren dictgetdate dictgetdateordefault dictgetdatetime dictgetdatetimeordefault
dictgetdescendants dictgetfloat32 dictgetfloat32ordefault dictgetfloat64 dictgetfloat64ordefault dictgethierarchy
dictgetint16 dictgetint16ordefault dictgetint32 dictgetint32ordefault dictgetint64 dictgetint64ordefault dictgetint8
dictgetint8ordefault dictgetipv4 dictgetipv4ordefault dictgetipv6 dictgetipv6ordefault dictgetkeys dictgetordefault
dictgetornull dictgetroot dictgetstring dictgetstringordefault dictgetuint16 dictgetuint16ordefault dictgetuint32
dictgetuint32ordefault dictgetuint64 dictgetuint64ordefault dictgetuint8 dictgetuint8ordefault dictgetuuid
dictgetuuidordefault dicthas dictisin naivebayesclassifier naivebayesclassifierwithallprobs
naivebayesclassifierwithprob regionhierarchy regionin regiontoarea regiontocity regiontocontinent regiontocountry
regiontodistrict regiontoname regiontopopulation regiontotopcontinent`,
  'reads tables by name': 'getmaxtablenamelengthfordatabase hascolumnintable joinget joingetornull',
  'reads files or the memory of the server': `
addresstoline addresstolinewithinlines addresstosymbol catboostevaluate demangle file flamegraph`,
  'calls other services': `
aiclassify aiembed aiextract aigenerate aitranslate generateserialid zookeepersessionuptime`,
  'returns facts of the server': `
buildid chdb displayname filesystemavailable filesystemcapacity filesystemunreserved fqdn fullhostname getmacro
getmergetreesetting getoskernelversion getserverport getserversetting globalvariable hasthreadfuzzer hostname revision
runningconcurrency servertimezone serveruuid shardcount shardnum showcertificate tcpport tid uptime`,
  'returns facts of the session': `
authenticateduser authuser connection_id connectionid current_query_id current_schemas current_user currentprofiles
currentqueryid currentroles currentschemas currentuser defaultprofiles defaultroles enabledprofiles enabledroles
getclienthttpheader getsetting getsettingordefault initial_query_id initial_query_start_time initialqueryid
initialquerystarttime query_id queryid session_user transactionid transactionlatestsnapshot transactionoldestsnapshot
user`,
  'waits, fails or writes a log': 'aggthrow fuzzquery logtrace sleep sleepeachrow throwif',
  'depends on how the server stores rows or reads them': `
blocknumber blockserializedsize blocksize indexhint ismergetreepartcoveredby mergetreepartinfo neighbor
rownumberinblock`,
  'keeps state outside of rows': `
timeseriescopytag timeseriescopytags timeseriesextracttag timeseriesgrouptosamplingkey timeseriesgrouptotags
timeseriesidtogroup timeseriesidtotags timeseriesidtotagsgroup timeseriesjointags timeseriesremovealltagsexcept
timeseriesremovetag timeseriesremovetags timeseriesreplacetag timeseriesstoretags timeseriestagsgrouptotags
timeseriestagstogroup timeseriesthrowduplicateseriesif`,
  'is internal to ClickHouse': `
__actionname __applyfilter __bitboolmaskand __bitboolmaskor __bitswaplasttwo __bitwrapperfunc __getscalar
__patchpartitionid __scalarsubqueryresult __toyearcalendaronly nested validatenestedarraysizes`,
  'takes no arguments': `
current_database currentdatabase database schema`,
};

const reasons = new Map(
  Object.entries(denied).flatMap(([reason, names]) => {
    return names
      .trim()
      .split(/\s+/)
      .map((name): [string, string] => [name, reason]);
  }),
);

/** Why a function is denied; undefined for a function that has not been reviewed. */
export function deniedReason(name: string): string | undefined {
  return reasons.get(name.toLowerCase());
}
