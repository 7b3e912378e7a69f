//! What of `INFO` a client may see whose policy is bounded: the server as it is, and nothing that all its
//! clients did.
//!
//! Owns: [`write_own`] and the list of sections and fields that stay. Never knows: frames, requests.
//!
//! Every heading stays, as an unused server has it: drivers look for fields, and a section without
//! any is the answer of a server without use. A section or field of a later server is left out.

use bytes::{BufMut, BytesMut};

/// Sections of which every field stays: they are the same for all clients, or drivers need them.
const WHOLE: [&[u8]; 4] = [b"Server", b"Replication", b"Modules", b"Cluster"];

/// Fields of others that stay; `*` at the end means any text.
const FIELDS: [(&[u8], &[&[u8]]); 3] = [
    (b"Clients", &[b"maxclients"]),
    (b"Memory", &[b"maxmemory*", b"mem_allocator"]),
    (
        b"Persistence",
        &[
            b"loading*",
            b"async_loading",
            b"rdb_bgsave_in_progress",
            b"rdb_last_bgsave_status",
            b"aof_enabled",
            b"aof_rewrite_in_progress",
            b"aof_last_bgrewrite_status",
            b"aof_last_write_status",
        ],
    ),
];

/// Writes the lines of a report that stay.
pub(super) fn write_own(report: &[u8], out: &mut BytesMut) {
    let mut section: &[u8] = b"";
    for line in report.split_inclusive(|byte| *byte == b'\n') {
        let text = line.trim_ascii_end();
        if let Some(heading) = text.strip_prefix(b"# ") {
            section = heading;
        } else if !text.is_empty() && !stays(section, text) {
            continue;
        }
        out.put_slice(line);
    }
}

fn stays(section: &[u8], line: &[u8]) -> bool {
    let field = line.split(|byte| *byte == b':').next().unwrap_or_default();
    let fits = |known: &&[u8]| match known.strip_suffix(b"*") {
        Some(start) => field.starts_with(start),
        None => field == *known,
    };
    WHOLE.contains(&section)
        || FIELDS.iter().any(|(name, fields)| *name == section && fields.iter().any(fits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_stay() {
        let report = "# Server\r\nredis_version:7.0.15\r\n\r\n# Clients\r\nconnected_clients:9\r\n\
            maxclients:10\r\n\r\n# Memory\r\nused_memory:5\r\nmaxmemory_policy:noeviction\r\n\r\n\
            # Persistence\r\nloading:0\r\nrdb_changes_since_last_save:7\r\n\r\n# Stats\r\n\
            keyspace_hits:3\r\n\r\n# Replication\r\nrole:master\r\n\r\n# Commandstats\r\n\
            cmdstat_get:calls=1\r\n\r\n# Later\r\nrole:x\r\n\r\n# Keyspace\r\ndb0:keys=1\r\n";
        let mut out = BytesMut::new();
        write_own(report.as_bytes(), &mut out);
        assert_eq!(
            String::from_utf8_lossy(&out),
            "# Server\r\nredis_version:7.0.15\r\n\r\n# Clients\r\nmaxclients:10\r\n\r\n# Memory\r\n\
             maxmemory_policy:noeviction\r\n\r\n# Persistence\r\nloading:0\r\n\r\n# Stats\r\n\r\n\
             # Replication\r\nrole:master\r\n\r\n# Commandstats\r\n\r\n# Later\r\n\r\n# Keyspace\r\n"
        );
    }

    #[test]
    fn lines_that_belong_to_no_section() {
        let mut out = BytesMut::new();
        write_own(b"db0:keys=1\r\n\r\nx\n", &mut out);
        assert_eq!(&*out, b"\r\n");
        write_own(b"", &mut out);
        assert_eq!(&*out, b"\r\n");
    }
}
