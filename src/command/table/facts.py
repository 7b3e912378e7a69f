"""What COMMAND does not report of a command, or reports incompletely: one list for each column of src/command/table.rs.

Each function answers in the words of the table, and stops with an error where the fact is not written
down: a command of a later server has to be put into every list that concerns it.
"""


def by_name(table):
    return {name: word for word, names in table.items() for name in names.split()}


# Every command, so that a new one is looked at for each column that has a usual value: what it reaches
# beyond its keys, the names in its replies, its cost. Those of Redis 7.0 are in every later server of
# either kind (`tests/conformance/command_table.rs` compares with one).
EVERYWHERE = set((
    "acl acl|cat acl|deluser acl|dryrun acl|genpass acl|getuser acl|help acl|list acl|load"
    " acl|log acl|save acl|setuser acl|users acl|whoami append asking auth bgrewriteaof bgsave"
    " bitcount bitfield bitfield_ro bitop bitpos blmove blmpop blpop brpop brpoplpush bzmpop"
    " bzpopmax bzpopmin client client|caching client|getname client|getredir client|help client|id"
    " client|info client|kill client|list client|no-evict client|pause client|reply client|setname"
    " client|tracking client|trackinginfo client|unblock client|unpause cluster cluster|addslots"
    " cluster|addslotsrange cluster|bumpepoch cluster|count-failure-reports"
    " cluster|countkeysinslot cluster|delslots cluster|delslotsrange cluster|failover"
    " cluster|flushslots cluster|forget cluster|getkeysinslot cluster|help cluster|info"
    " cluster|keyslot cluster|links cluster|meet cluster|myid cluster|nodes cluster|replicas"
    " cluster|replicate cluster|reset cluster|saveconfig cluster|set-config-epoch cluster|setslot"
    " cluster|shards cluster|slaves cluster|slots command command|count command|docs"
    " command|getkeys command|getkeysandflags command|help command|info command|list config"
    " config|get config|help config|resetstat config|rewrite config|set copy dbsize debug decr"
    " decrby del discard dump echo eval eval_ro evalsha evalsha_ro exec exists expire expireat"
    " expiretime failover fcall fcall_ro flushall flushdb function function|delete function|dump"
    " function|flush function|help function|kill function|list function|load function|restore"
    " function|stats geoadd geodist geohash geopos georadius georadius_ro georadiusbymember"
    " georadiusbymember_ro geosearch geosearchstore get getbit getdel getex getrange getset hdel"
    " hello hexists hget hgetall hincrby hincrbyfloat hkeys hlen hmget hmset hrandfield hscan hset"
    " hsetnx hstrlen hvals incr incrby incrbyfloat info keys lastsave latency latency|doctor"
    " latency|graph latency|help latency|histogram latency|history latency|latest latency|reset"
    " lcs lindex linsert llen lmove lmpop lolwut lpop lpos lpush lpushx lrange lrem lset ltrim"
    " memory memory|doctor memory|help memory|malloc-stats memory|purge memory|stats memory|usage"
    " mget migrate module module|help module|list module|load module|loadex module|unload monitor"
    " move mset msetnx multi object object|encoding object|freq object|help object|idletime"
    " object|refcount persist pexpire pexpireat pexpiretime pfadd pfcount pfdebug pfmerge"
    " pfselftest ping psetex psubscribe psync pttl publish pubsub pubsub|channels pubsub|help"
    " pubsub|numpat pubsub|numsub pubsub|shardchannels pubsub|shardnumsub punsubscribe quit"
    " randomkey readonly readwrite rename renamenx replconf replicaof reset restore restore-asking"
    " role rpop rpoplpush rpush rpushx sadd save scan scard script script|debug script|exists"
    " script|flush script|help script|kill script|load sdiff sdiffstore select set setbit setex"
    " setnx setrange shutdown sinter sintercard sinterstore sismember slaveof slowlog slowlog|get"
    " slowlog|help slowlog|len slowlog|reset smembers smismember smove sort sort_ro spop spublish"
    " srandmember srem sscan ssubscribe strlen subscribe substr sunion sunionstore sunsubscribe"
    " swapdb sync time touch ttl type unlink unsubscribe unwatch wait watch xack xadd xautoclaim"
    " xclaim xdel xgroup xgroup|create xgroup|createconsumer xgroup|delconsumer xgroup|destroy"
    " xgroup|help xgroup|setid xinfo xinfo|consumers xinfo|groups xinfo|help xinfo|stream xlen"
    " xpending xrange xread xreadgroup xrevrange xsetid xtrim zadd zcard zcount zdiff zdiffstore"
    " zincrby zinter zintercard zinterstore zlexcount zmpop zmscore zpopmax zpopmin zrandmember"
    " zrange zrangebylex zrangebyscore zrangestore zrank zrem zremrangebylex zremrangebyrank"
    " zremrangebyscore zrevrange zrevrangebylex zrevrangebyscore zrevrank zscan zscore zunion"
    " zunionstore"
).split())
# Those of some servers alone.
LATER = set((
    "arcount ardel ardelrange arget argetrange argrep arinfo arinsert arlastitems arlen armget"
    " armset arnext arop arring arscan arseek arset backup backup|abort backup|cleanup backup|help"
    " backup|list backup|seal backup|start backup|status blmovem client|capa client|import-source"
    " client|no-touch client|setinfo cluster|cancelslotmigrations cluster|flushslot"
    " cluster|getslotmigrations cluster|migrateslots cluster|migration cluster|myshardid"
    " cluster|slot-stats cluster|syncslots clusterscan commandlog commandlog|get commandlog|help"
    " commandlog|len commandlog|reset delex delifeq digest hexpire hexpireat hexpiretime hgetdel"
    " hgetex himport himport|discard himport|discardall himport|prepare himport|set hotkeys"
    " hotkeys|get hotkeys|help hotkeys|reset hotkeys|start hotkeys|stop hpersist hpexpire"
    " hpexpireat hpexpiretime hpttl hsetex httl increx lmovem msetex script|show sdiffcard"
    " sunioncard trimslots vadd vcard vdim vemb vgetattr vinfo vismember vlinks vrandmember vrange"
    " vrem vsetattr vsim waitaof xackdel xcfgset xdelex xidmprecord xnack"
).split())

# Options name keys: COMMAND's specifications are silent, incomplete or heed only the first of them.
KEYS = {
    "bitfield": ["KeySpec::Bitfield"],
    "client|tracking": ["KeySpec::Tracking"],
    "debug": ["KeySpec::Debug"],
    "georadius": ["KeySpec::GeoStore { options: 6 }"],
    "georadiusbymember": ["KeySpec::GeoStore { options: 5 }"],
    "migrate": ["KeySpec::Migrate"],
    "set": ["KeySpec::Set"],
    "sort": ["KeySpec::Sort { store: true }"],
    "sort_ro": ["KeySpec::Sort { store: false }"],
    "xread": ["KeySpec::Streams"],
    "xreadgroup": ["KeySpec::Streams"],
    # Channels.
    "publish": ["channel(1, Channel, W)"],
    "spublish": ["channel(1, ShardChannel, W)"],
    "subscribe": ["channels(1, 1, Channel, R)"],
    "psubscribe": ["channels(1, 1, ChannelPattern, R)"],
    "ssubscribe": ["channels(1, 1, ShardChannel, R)"],
    "unsubscribe": ["channels(1, 0, Channel, N)"],
    "punsubscribe": ["channels(1, 0, ChannelPattern, N)"],
    "sunsubscribe": ["channels(1, 0, ShardChannel, N)"],
    "pubsub|channels": ["channels(2, 0, ChannelPattern, N)"],
    "pubsub|numsub": ["channels(2, 0, Channel, N)"],
    "pubsub|shardchannels": ["channels(2, 0, ChannelPattern, N)"],
    "pubsub|shardnumsub": ["channels(2, 0, ShardChannel, N)"],
}
# The destination counts although the sources are missing, or the other way round.
LEAST_NONE = {("pfmerge", 2)}
# Scripts may have no keys.
COUNTED_NONE = {"eval", "eval_ro", "evalsha", "evalsha_ro", "fcall", "fcall_ro"}

# Commands for which the connection matters, or which are about it. All of CLIENT must be here.
EFFECT = by_name({
    "Auth": "auth",
    "Hello": "hello",
    "Reset": "reset",
    "Quit": "quit",
    "Select": "select",
    "Multi": "multi",
    "Exec": "exec",
    "Discard": "discard",
    "Watch": "watch",
    "Unwatch": "unwatch",
    "Block(Timeout::Argument(1))": "blmpop bzmpop",
    "Block(Timeout::Argument(5))": "blmove blmovem",
    "Block(Timeout::Last)": "blpop brpop brpoplpush bzpopmin bzpopmax",
    "Block(Timeout::Streams)": "xread xreadgroup",
    "Wait": "wait waitaof",
    "Subscribe": "subscribe psubscribe ssubscribe",
    "Unsubscribe": "unsubscribe punsubscribe sunsubscribe",
    "Monitor": "monitor",
    "Tracking": "client|tracking",
    "Caching": "client|caching",
    "Ping": "ping",
    "Pushes": "debug",
    "Local(Local::Asking)": "asking",
    "Local(Local::Capa)": "client|capa",
    "Local(Local::GetName)": "client|getname",
    "Local(Local::GetRedirect)": "client|getredir",
    "Local(Local::Help)": "client|help",
    "Local(Local::Id)": "client|id",
    "Local(Local::ImportSource)": "client|import-source",
    "Local(Local::Info)": "client|info",
    "Local(Local::Kill)": "client|kill",
    "Local(Local::List)": "client|list",
    "Local(Local::NoEvict)": "client|no-evict",
    "Local(Local::NoTouch)": "client|no-touch",
    "Local(Local::ReadOnly)": "readonly",
    "Local(Local::ReadWrite)": "readwrite",
    "Local(Local::Reply)": "client|reply",
    "Local(Local::SetInfo)": "client|setinfo",
    "Local(Local::SetName)": "client|setname",
    "Local(Local::TrackingInfo)": "client|trackinginfo",
    "Local(Local::Unblock)": "client|unblock",
    "Local(Local::WhoAmI)": "acl|whoami",
    # Whatever the server takes while a script holds it up, and what ends a pause.
    "Release": "script|kill function|kill function|stats shutdown client|unpause failover",
    "Replicate { streams: true }": "sync psync",
    "Replicate { streams: false }": "replconf",
    "Never": "script|debug cluster|syncslots"
    " himport|prepare himport|set himport|discard himport|discardall",
    "Shared": "client client|pause",
})

# Commands without keys or channels must be here. Those with keys reach nothing else unless they are.
REACH = by_name({
    "Named": "acl acl|cat acl|genpass acl|help acl|whoami asking auth backup backup|help client"
    " client|caching client|capa client|getname client|getredir client|help client|id"
    " client|import-source client|info client|kill client|list client|no-evict client|no-touch"
    " client|reply client|setinfo client|setname client|trackinginfo client|unblock cluster"
    " cluster|help cluster|info cluster|keyslot cluster|links cluster|myid cluster|myshardid"
    " cluster|nodes cluster|replicas cluster|shards cluster|slaves cluster|slots command"
    " command|count command|docs command|getkeys command|getkeysandflags command|help command|info"
    " command|list commandlog commandlog|help config config|help discard echo exec function"
    " function|help hello himport himport|discard himport|discardall himport|prepare hotkeys"
    " hotkeys|help latency latency|help lolwut memory memory|help module module|help multi object"
    " object|help ping pubsub pubsub|help quit readonly readwrite reset role script script|debug"
    " script|exists script|help script|load select slowlog slowlog|help time unwatch wait waitaof"
    " xgroup xgroup|help xinfo xinfo|help",
    "Scan(PatternAt::Argument)": "keys",
    "Scan(PatternAt::Option)": "scan clusterscan",
    "Copy": "copy",
    "Move": "move",
    "Migrate": "migrate",
    "ChannelScan": "pubsub|channels pubsub|shardchannels",
    "ChannelCount": "pubsub|numsub pubsub|shardnumsub",
    "Invalidations": "client|tracking",
    "Report": "info",
    "Database(CountsKeys)": "dbsize",
    "Database(RemovesKeys)": "flushdb",
    "Database(ShowsKeys)": "randomkey",
    "Server(ChangesScripts)": "function|delete function|flush function|kill function|load"
    " function|restore script|flush script|kill",
    "Server(ChangesServer)": "acl|deluser acl|load acl|save acl|setuser backup|abort backup|cleanup"
    " backup|seal backup|start bgrewriteaof bgsave client|pause client|unpause cluster|addslots"
    " cluster|addslotsrange cluster|bumpepoch cluster|cancelslotmigrations cluster|delslots"
    " cluster|delslotsrange cluster|failover cluster|flushslots cluster|forget cluster|meet"
    " cluster|saveconfig cluster|set-config-epoch cluster|setslot commandlog|reset config|resetstat"
    " config|rewrite config|set failover hotkeys|reset hotkeys|start hotkeys|stop latency|reset"
    " memory|purge module|load module|loadex module|unload pfselftest save shutdown slowlog|reset",
    "Server(CountsKeys)": "cluster|countkeysinslot cluster|slot-stats memory|stats",
    "Server(ExchangesDatabases)": "swapdb",
    "Server(MovesKeys)": "cluster|migrateslots cluster|migration",
    "Server(ReachesKeys)": "debug",
    "Server(RemovesKeys)": "cluster|flushslot cluster|reset flushall trimslots",
    "Server(ReplacesData)": "cluster|replicate replicaof slaveof",
    "Server(SendsData)": "cluster|syncslots psync replconf sync",
    "Server(ShowsKeys)": "cluster|getkeysinslot hotkeys|get",
    "Server(ShowsRequests)": "acl|log commandlog|get function|stats monitor slowlog|get",
    "Server(ShowsScripts)": "function|dump function|list script|show",
    "Server(ShowsServer)": "acl|dryrun acl|getuser acl|list acl|users backup|list backup|status"
    " cluster|count-failure-reports cluster|getslotmigrations commandlog|len config|get lastsave"
    " latency|doctor latency|graph latency|histogram latency|history latency|latest memory|doctor"
    " memory|malloc-stats module|list pubsub|numpat slowlog|len",
})

# Commands that write must be here.
STORES = by_name({
    "S::Nothing": "ardel ardelrange arseek blmove blmovem blmpop blpop brpop brpoplpush bzmpop bzpopmax"
    " bzpopmin cluster|flushslot copy decr decrby del delex delifeq expire expireat flushall flushdb"
    " function|delete function|flush function|load function|restore georadius georadiusbymember"
    " geosearchstore getdel getex hdel hexpire hexpireat hgetdel hgetex himport|set hincrby"
    " hincrbyfloat hpersist hpexpire hpexpireat incr incrby incrbyfloat increx lmove lmovem lmpop"
    " lpop lrem ltrim migrate move persist pexpire pexpireat pfadd pfdebug pfmerge rename renamenx"
    " rpop rpoplpush sdiffstore sinterstore smove sort spop srem sunionstore swapdb trimslots unlink"
    " vrem xack xackdel xautoclaim xcfgset xclaim xdel xdelex xgroup|create xgroup|createconsumer"
    " xgroup|delconsumer xgroup|destroy xgroup|setid xidmprecord xnack xreadgroup xsetid xtrim"
    " zdiffstore zinterstore zmpop zpopmax zpopmin zrangestore zrem zremrangebylex zremrangebyrank"
    " zremrangebyscore zunionstore",
    "S::At(2)": "set setnx getset",
    "S::At(3)": "setex psetex hsetnx lset zincrby vsetattr",
    "S::At(4)": "linsert",
    "S::Each { first: 2, step: 1 }": "arinsert lpush lpushx rpush rpushx sadd",
    "S::Each { first: 2, step: 2 }": "mset msetnx",
    "S::Each { first: 3, step: 1 }": "arring arset",
    "S::Each { first: 3, step: 2 }": "armset hset hmset",
    "S::CountedPairs": "msetex",
    "S::Fields": "hsetex",
    "S::Members { step: 2 }": "zadd",
    "S::Members { step: 3 }": "geoadd",
    "S::Entry": "xadd",
    "S::Attribute": "vadd",
    "S::Appended": "append",
    "S::Overwritten": "setrange",
    "S::Bit": "setbit",
    "S::Bits": "bitfield",
    "S::Combined": "bitop",
    "S::Serialized": "restore restore-asking",
})

# Commands that write a key which they name must be here.
LIFETIME = by_name({
    "T::Untouched": "ardel ardelrange blmpop blpop brpop bzmpop bzpopmax bzpopmin del delex delifeq"
    " getdel hdel hgetdel lmpop lpop lrem ltrim migrate move rpop spop srem unlink vrem xack xackdel"
    " xdel xdelex xgroup|delconsumer xgroup|destroy xnack xtrim zmpop zpopmax zpopmin zrem"
    " zremrangebylex zremrangebyrank zremrangebyscore",
    "T::Kept": "hexpire hexpireat hgetex hpersist hpexpire hpexpireat linsert lpushx lset rpushx"
    " vsetattr xautoclaim xclaim xgroup|createconsumer xgroup|setid xsetid",
    "T::NoTtl": "append arinsert armset arring arseek arset bitfield bitop blmove blmovem"
    " brpoplpush decr decrby geoadd georadius georadiusbymember geosearchstore getset himport|set"
    " hincrby hincrbyfloat hmset hset hsetex hsetnx incr incrby incrbyfloat lmove lmovem lpush mset"
    " msetnx pfadd pfmerge rpoplpush rpush sadd sdiffstore setbit setnx setrange sinterstore smove"
    " sort sunionstore vadd xadd xcfgset xgroup|create xidmprecord zadd zdiffstore zincrby"
    " zinterstore zrangestore zunionstore",
    "T::Inherited": "copy rename renamenx",
    "T::Unknowable": "eval evalsha fcall",
    "T::Ended": "persist",
    "SECONDS": "expire setex",
    "MILLISECONDS": "pexpire psetex",
    "AT_SECONDS": "expireat",
    "AT_MILLISECONDS": "pexpireat",
    "T::Restore": "restore restore-asking",
    "T::Options { first: OptionsStart::At(3), otherwise: WithoutOption::Lost }": "set",
    "T::Options { first: OptionsStart::BehindPairs, otherwise: WithoutOption::Lost }": "msetex",
    "T::Options { first: OptionsStart::At(2), otherwise: WithoutOption::NoTtl }": "increx",
    "T::Options { first: OptionsStart::At(2), otherwise: WithoutOption::Kept }": "getex",
})

# Names of keys and channels in replies, besides those in errors.
NAMES = by_name({
    "In::Names": "keys",
    "In::Scan": "clusterscan scan",
    "In::First": "blmpop blpop brpop bzmpop bzpopmax bzpopmin lmpop zmpop",
    "In::Streams": "xread xreadgroup",
    "In::Channels": "pubsub|channels pubsub|shardchannels",
    "In::Pairs": "pubsub|numsub pubsub|shardnumsub",
    "In::Tracking": "client|trackinginfo",
    "In::KeyAtEnd": "xautoclaim xclaim xgroup|createconsumer xgroup|delconsumer xgroup|destroy"
    " xgroup|setid xinfo|consumers xinfo|groups xinfo|stream xpending",
    "In::Acknowledged": "psubscribe punsubscribe ssubscribe subscribe sunsubscribe unsubscribe",
    "In::Report": "info",
})

# Commands of the category @scripting must be here.
SCRIPT = by_name({
    "None": "function|help script|debug script|help",
    "Some(Script::Text { arg: 1 })": "eval eval_ro",
    "Some(Script::Text { arg: 2 })": "script|load",
    "Some(Script::Digest)": "evalsha evalsha_ro",
    "Some(Script::Function)": "fcall fcall_ro",
    "Some(Script::Exists)": "script|exists",
    "Some(Script::Shows)": "function|dump function|list function|stats script|show",
    "Some(Script::Change { forgets: false })": "function|delete function|flush function|kill"
    " function|load function|restore script|kill",
    "Some(Script::Change { forgets: true })": "script|flush",
})

# What one request can cost beyond itself and the data that it names.
COST = by_name({
    "Cost::Watched": "watch",
    "Cost::Patterns": "psubscribe punsubscribe",
    "Cost::Prefixes": "client|tracking",
    "Cost::Repeats { arg: 2 }": "hrandfield srandmember zrandmember vrandmember",
})


# What a command that reads answers without data; tests/abuse/failure/degraded.rs compares with servers.
MISS = by_name({
    "NIL": "get digest hget lindex geodist dump randomkey zscore memory|usage object|encoding"
           " object|freq object|idletime object|refcount",
    "GONE": "ttl pttl expiretime pexpiretime",
    "ZERO": "exists touch strlen getbit bitcount pfcount llen hlen hexists hstrlen scard sismember"
            " sintercard sdiffcard sunioncard zcard zcount zlexcount zintercard xlen dbsize",
    "NO_ITEMS": "hkeys hvals lrange keys sort_ro xrange xrevrange zrange zrevrange zrangebylex"
                " zrevrangebylex zrangebyscore zrevrangebyscore zdiff zinter zunion georadius_ro"
                " georadiusbymember_ro geosearch",
    "Miss::Always(Empty::Set)": "smembers sdiff sinter sunion",
    "Miss::Always(Empty::Map)": "hgetall",
    "Miss::Always(Empty::Value)": "getrange substr",
    "Miss::Always(Empty::NoType)": "type",
    "Miss::Always(Empty::NullArray)": "xread",
    "Miss::Always(Empty::Cursor)": "scan sscan hscan zscan",
    "each(Item::Null, 1, 1)": "mget",
    "each(Item::Null, 2, 1)": "hmget geohash zmscore",
    "each(Item::NullArray, 2, 1)": "geopos",
    "each(Item::Integer(0), 2, 1)": "smismember",
    "each(Item::Integer(0), 2, 3)": "bitfield_ro",
    "each(Item::Integer(-2), 4, 1)": "hexpiretime hpexpiretime httl hpttl",
    'with("count", Empty::Null, Empty::Array)': "lpos",
    'with("withscore", Empty::Null, Empty::NullArray)': "zrank zrevrank",
    "Miss::Bare": "hrandfield srandmember zrandmember",
    "Miss::BitPosition": "bitpos",
    "Miss::CommonPart": "lcs",
})
# Those that answer an error then, or more than emptiness, or are of types that a cache has not.
NO_MISS = set((
    "clusterscan eval_ro evalsha_ro fcall_ro lolwut xinfo|consumers xinfo|groups xinfo|stream xpending"
).split())


def known(name):
    assert (name in EVERYWHERE) != (name in LATER), f"{name}: put it into EVERYWHERE or LATER, and into the lists"
    for table in (EFFECT, REACH, STORES, LIFETIME, NAMES, SCRIPT, COST):
        assert table.keys() <= EVERYWHERE | LATER, table.keys() - EVERYWHERE - LATER


def effect(name, blocks):
    listed = name.split("|")[0] != "client" and not blocks
    assert listed or name in EFFECT, f"{name}: write down what it does to its connection"
    return EFFECT.get(name, "Shared")


def reach(name, has_keys):
    if has_keys:
        return REACH.get(name, "Named")
    assert name in REACH, f"{name}: write down what it reaches"
    return REACH[name]


def stores(name, writes):
    return fact(STORES, name, writes, "S::Nothing", "what it stores")


def lifetime(name, writes_keys):
    return fact(LIFETIME, name, writes_keys, "T::Untouched", "how long its keys live")


def script(name, scripting):
    return fact(SCRIPT, name, scripting, "None", "what it does with scripts")


def fact(table, name, needed, otherwise, what):
    if not needed:
        assert name not in table, name
        return otherwise
    assert name in table, f"{name}: write down {what}"
    return table[name]


def names(name):
    return NAMES.get(name, "In::Errors")


def cost(name):
    return COST.get(name, "L")


def miss(name, reads):
    found = MISS.get(name)
    if found is None and reads and name not in NO_MISS and not name.startswith(("v", "ar")):
        raise SystemExit(f"{name}: write down in MISS or NO_MISS what it answers without data")
    return found or "Miss::No"


def everywhere(name):
    return "true" if name in EVERYWHERE else "false"
