/**
 * Functions that SQL may not call, by what they reach beyond the rows of the query's own tables. Names in lower case, from
 * ClickHouse 26.7. What stands in no list is refused too. Those that name the database are replaced before SQL is checked.
 */
const refused: Record<string, string> = {
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
  'reads tables by their names': 'getmaxtablenamelengthfordatabase hascolumnintable joinget joingetornull',
  'reads files or the memory of the server': `
addresstoline addresstolinewithinlines addresstosymbol catboostevaluate demangle file flamegraph`,
  'calls other services': `
aiclassify aiembed aiextract aigenerate aitranslate generateserialid zookeepersessionuptime`,
  'tells of the server': `
buildid chdb displayname filesystemavailable filesystemcapacity filesystemunreserved fqdn fullhostname getmacro
getmergetreesetting getoskernelversion getserverport getserversetting globalvariable hasthreadfuzzer hostname revision
runningconcurrency servertimezone serveruuid shardcount shardnum showcertificate tcpport tid uptime`,
  'tells of the session': `
authenticateduser authuser connection_id connectionid current_query_id current_schemas current_user currentprofiles
currentqueryid currentroles currentschemas currentuser defaultprofiles defaultroles enabledprofiles enabledroles
getclienthttpheader getsetting getsettingordefault initial_query_id initial_query_start_time initialqueryid
initialquerystarttime query_id queryid session_user transactionid transactionlatestsnapshot transactionoldestsnapshot
user`,
  'waits, fails or writes a log': 'aggthrow fuzzquery logtrace sleep sleepeachrow throwif',
  'depends on how the server stores rows or reads them': `
blocknumber blockserializedsize blocksize indexhint ismergetreepartcoveredby mergetreepartinfo neighbor
rownumberinblock`,
  'keeps a state beside the rows': `
timeseriescopytag timeseriescopytags timeseriesextracttag timeseriesgrouptosamplingkey timeseriesgrouptotags
timeseriesidtogroup timeseriesidtotags timeseriesidtotagsgroup timeseriesjointags timeseriesremovealltagsexcept
timeseriesremovetag timeseriesremovetags timeseriesreplacetag timeseriesstoretags timeseriestagsgrouptotags
timeseriestagstogroup timeseriesthrowduplicateseriesif`,
  'is one that ClickHouse keeps for itself': `
__actionname __applyfilter __bitboolmaskand __bitboolmaskor __bitswaplasttwo __bitwrapperfunc __getscalar
__patchpartitionid __scalarsubqueryresult __toyearcalendaronly nested validatenestedarraysizes`,
  'takes no arguments': `
current_database currentdatabase database schema`,
};

const reaches = new Map(
  Object.entries(refused).flatMap(([reach, names]) => {
    return names
      .trim()
      .split(/\s+/)
      .map((name): [string, string] => [name, reach]);
  }),
);

/** Why a function is refused; undefined for one that nobody has looked at. */
export function deniedReason(name: string): string | undefined {
  return reaches.get(name.toLowerCase());
}
