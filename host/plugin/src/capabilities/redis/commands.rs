//! The commands that plugins may run, and the positions of their keys.
//!
//! All other commands are refused: those that concern the whole server or a connection's state, those that block, and those
//! that reach keys without naming them.

/// The positions of the keys among a command's arguments. The name of the command is argument 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keys {
    /// The command uses no key.
    None,
    /// The first argument.
    First,
    /// The first two.
    FirstTwo,
    /// The argument after this subcommand. Other subcommands are refused.
    After(&'static str),
    /// All arguments.
    All,
    /// Every second argument: each key is followed by its value.
    EveryOther,
    /// The number of keys, then the keys.
    Counted,
    /// One key, then the number of further keys, then these.
    OneAndCounted,
    /// No argument, but the pattern after MATCH selects keys, and the answer contains keys.
    Scanned,
    /// No argument, but the answer is about all keys of the database.
    Everything,
}

/// The positions of a command's keys; `None` when plugins may not run it.
pub(super) fn keys_of(command: &[u8]) -> Option<Keys> {
    let name = str::from_utf8(command).ok()?.to_ascii_uppercase();
    Some(match name.as_str() {
        "PING" | "ECHO" | "TIME" => Keys::None,

        "EXPIRE" | "EXPIREAT" | "PEXPIRE" | "PEXPIREAT" | "EXPIRETIME" | "PEXPIRETIME" | "PERSIST" | "TTL" | "PTTL"
        | "TYPE" => Keys::First,
        "DEL" | "UNLINK" | "EXISTS" | "TOUCH" => Keys::All,
        "RENAME" | "RENAMENX" => Keys::FirstTwo,
        "MEMORY" => Keys::After("USAGE"),
        "OBJECT" => Keys::After("ENCODING"),
        "SCAN" => Keys::Scanned,
        "DBSIZE" => Keys::Everything,

        "GET" | "SET" | "SETNX" | "SETEX" | "PSETEX" | "GETEX" | "GETDEL" | "GETSET" | "GETRANGE" | "SETRANGE"
        | "APPEND" | "STRLEN" | "INCR" | "INCRBY" | "INCRBYFLOAT" | "DECR" | "DECRBY" | "SETBIT" | "GETBIT"
        | "BITCOUNT" | "BITPOS" | "BITFIELD" | "BITFIELD_RO" => Keys::First,
        "MGET" => Keys::All,
        "MSET" | "MSETNX" => Keys::EveryOther,

        "HGET" | "HSET" | "HSETNX" | "HMGET" | "HMSET" | "HGETALL" | "HDEL" | "HEXISTS" | "HKEYS" | "HVALS"
        | "HLEN" | "HSTRLEN" | "HINCRBY" | "HINCRBYFLOAT" | "HRANDFIELD" | "HSCAN" => Keys::First,

        "SADD" | "SREM" | "SMEMBERS" | "SISMEMBER" | "SMISMEMBER" | "SCARD" | "SPOP" | "SRANDMEMBER" | "SSCAN" => {
            Keys::First
        }
        "SMOVE" => Keys::FirstTwo,
        "SINTER" | "SUNION" | "SDIFF" | "SINTERSTORE" | "SUNIONSTORE" | "SDIFFSTORE" => Keys::All,
        "SINTERCARD" => Keys::Counted,

        "ZADD" | "ZREM" | "ZCARD" | "ZCOUNT" | "ZLEXCOUNT" | "ZSCORE" | "ZMSCORE" | "ZRANK" | "ZREVRANK"
        | "ZINCRBY" | "ZRANGE" | "ZRANGEBYLEX" | "ZRANGEBYSCORE" | "ZREVRANGE" | "ZREVRANGEBYLEX"
        | "ZREVRANGEBYSCORE" | "ZPOPMIN" | "ZPOPMAX" | "ZRANDMEMBER" | "ZREMRANGEBYLEX" | "ZREMRANGEBYRANK"
        | "ZREMRANGEBYSCORE" | "ZSCAN" => Keys::First,
        "ZRANGESTORE" => Keys::FirstTwo,
        "ZINTER" | "ZUNION" | "ZDIFF" | "ZINTERCARD" => Keys::Counted,
        "ZINTERSTORE" | "ZUNIONSTORE" | "ZDIFFSTORE" => Keys::OneAndCounted,

        "LPUSH" | "RPUSH" | "LPUSHX" | "RPUSHX" | "LPOP" | "RPOP" | "LLEN" | "LRANGE" | "LINDEX" | "LSET"
        | "LINSERT" | "LREM" | "LTRIM" | "LPOS" => Keys::First,
        "LMOVE" | "RPOPLPUSH" => Keys::FirstTwo,

        "XADD" | "XLEN" | "XRANGE" | "XREVRANGE" | "XDEL" | "XTRIM" => Keys::First,

        "PFADD" => Keys::First,
        "PFCOUNT" | "PFMERGE" => Keys::All,
        _ => return None,
    })
}

impl Keys {
    /// The indexes of the keys among `count` arguments. `argument` returns an argument, if it is known.
    pub(super) fn places<'a>(
        self,
        count: usize,
        argument: impl Fn(usize) -> Option<&'a [u8]>,
    ) -> Result<Vec<usize>, String> {
        let counted = |at: usize| {
            let number = argument(at).and_then(|number| str::from_utf8(number).ok()?.parse::<usize>().ok());
            let number = number.ok_or_else(|| format!("its argument {at} must be the number of the keys after it"))?;
            let end = at.saturating_add(number);
            if end < count { Ok(at + 1..=end) } else { Err(format!("it has fewer keys than its count of {number}")) }
        };
        Ok(match self {
            Self::None | Self::Scanned | Self::Everything => Vec::new(),
            Self::First => (1..count.min(2)).collect(),
            Self::FirstTwo => (1..count.min(3)).collect(),
            Self::After(word) => match argument(1) {
                Some(subcommand) if subcommand.eq_ignore_ascii_case(word.as_bytes()) => (2..count.min(3)).collect(),
                _ => return Err(format!("only its subcommand {word} is allowed")),
            },
            Self::All => (1..count).collect(),
            Self::EveryOther => (1..count).step_by(2).collect(),
            Self::Counted => counted(1)?.collect(),
            Self::OneAndCounted => std::iter::once(1).chain(counted(2)?).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(command: &str) -> Result<Vec<usize>, String> {
        let arguments: Vec<_> = command.split(' ').map(str::as_bytes).collect();
        let keys = keys_of(arguments[0]).expect("a command that plugins may run");
        keys.places(arguments.len(), |at| arguments.get(at).copied())
    }

    #[test]
    fn the_keys_of_a_command_are_found_and_nothing_else() {
        for (command, expected) in [
            ("PING", &[][..]),
            ("get k", &[1]),
            ("SET k v EX 10", &[1]),
            ("MGET a b c", &[1, 2, 3]),
            ("MSET a 1 b 2", &[1, 3]),
            ("RENAME a b", &[1, 2]),
            ("LMOVE a b LEFT RIGHT", &[1, 2]),
            ("MEMORY USAGE k SAMPLES 5", &[2]),
            ("memory usage k", &[2]),
            ("ZUNION 2 a b WEIGHTS 1 2", &[2, 3]),
            ("ZUNIONSTORE to 2 a b AGGREGATE MAX", &[1, 3, 4]),
            ("SINTERCARD 1 a LIMIT 3", &[2]),
            ("ZRANGESTORE to from 0 -1", &[1, 2]),
            ("SCAN 0", &[]),
            ("GET", &[]),
        ] {
            assert_eq!(places(command).unwrap(), expected, "{command}");
        }
    }

    #[test]
    fn a_command_with_unknown_keys_is_refused() {
        for command in
            ["MEMORY DOCTOR", "MEMORY", "OBJECT FREQ k", "ZUNION 3 a b", "ZUNION x a", "ZUNIONSTORE to", "SINTERCARD"]
        {
            assert!(places(command).is_err(), "{command}");
        }
        assert!(places("ZUNION 18446744073709551615 a").is_err());
    }

    #[test]
    fn commands_beyond_single_keys_are_not_for_plugins() {
        let others = "ACL AUTH BLPOP BRPOP BZPOPMIN CLIENT CLUSTER CONFIG COPY DEBUG EVAL EVALSHA EXEC FCALL FLUSHALL \
                      FLUSHDB FUNCTION HELLO INFO KEYS MIGRATE MODULE MONITOR MOVE MULTI PSUBSCRIBE PUBLISH QUIT RANDOMKEY \
                      REPLICAOF RESET SAVE SCRIPT SELECT SHUTDOWN SORT SORT_RO SUBSCRIBE SWAPDB SYNC UNWATCH WAIT WATCH \
                      XREAD XREADGROUP";
        for command in others.split(' ').chain([""]) {
            assert_eq!(keys_of(command.as_bytes()), None, "{command}");
        }
        assert_eq!(keys_of(b"\xff"), None);
    }
}
