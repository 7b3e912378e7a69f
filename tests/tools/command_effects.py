"""What COMMAND does not say of a command: what it reaches, what it stores, what scripts it is about, what it costs.

Each function answers in the words of src/command/table.rs, and stops with an error where nobody has
decided yet: a command of a later server has to be put somewhere.
"""


def by_name(table):
    return {name: word for word, names in table.items() for name in names.split()}


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
    "Walk": "keys scan clusterscan",
    "Copy": "copy",
    "Move": "move",
    "Migrate": "migrate",
    "ChannelWalk": "pubsub|channels pubsub|shardchannels",
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

# Commands of the category @scripting must be here.
SCRIPT = by_name({
    "None": "function|help script|debug script|help",
    "Some(Script::Text { arg: 1 })": "eval eval_ro",
    "Some(Script::Text { arg: 2 })": "script|load",
    "Some(Script::Digest)": "evalsha evalsha_ro",
    "Some(Script::Function)": "fcall fcall_ro",
    "Some(Script::Asks)": "script|exists",
    "Some(Script::Shows)": "function|dump function|list function|stats script|show",
    "Some(Script::Change)": "function|delete function|flush function|kill function|load"
    " function|restore script|flush script|kill",
})

# What one request can cost beyond itself and the data that it names.
COST = by_name({
    "Cost::Watched": "watch",
    "Cost::Patterns": "psubscribe punsubscribe",
    "Cost::Prefixes": "client|tracking",
    "Cost::Repeats { arg: 2 }": "hrandfield srandmember zrandmember vrandmember",
})


def reach(name, has_keys):
    if has_keys:
        return REACH.get(name, "Named")
    assert name in REACH, f"{name}: write down what it reaches"
    return REACH[name]


def stores(name, writes):
    if not writes:
        assert name not in STORES, name
        return "S::Nothing"
    assert name in STORES, f"{name}: write down what it stores"
    return STORES[name]


def script(name, scripting):
    if not scripting:
        assert name not in SCRIPT, name
        return "None"
    assert name in SCRIPT, f"{name}: write down what it does with scripts"
    return SCRIPT[name]


def cost(name):
    return COST.get(name, "L")
