# Appended to the suite's client (tests/support/redis.tcl) in mode rewrite: what a tenant of a server does not
# have goes to the server itself, past respgate, so that the tests that need it can be played. FLUSHALL, by
# which the suite cleans up, becomes FLUSHDB, which a tenant may have.

namespace eval ::tenant {
    variable direct {}
    # Commands of the server's administrator, and subcommands where not all are.
    variable administration {info * config * bgsave * save * bgrewriteaof * lastsave * slaveof * replicaof *
        debug {reload loadaof set-active-expire sleep jmap change-repl-id quicklist-packed-threshold
               set-disable-deny-scripts replybuffer pause-cron object digest-value listpack}
        script {flush kill} function {flush kill stats}}
    # Without a prefix a tenant's keys cannot be distinguished from others, and they are removed with these.
    if {$::env(TENANT_PREFIX) eq {}} {dict set administration flushall *; dict set administration flushdb *}
    # Of these, the ones whose argument 1 is a key.
    variable keyed {object digest-value listpack}
}
rename ::redis::__dispatch__raw__ ::tenant::dispatch

proc ::redis::__dispatch__raw__ {id method argv} {
    variable ::tenant::administration
    variable ::tenant::direct
    set name [string tolower $method]
    if {$name eq "flushall" && $::env(TENANT_PREFIX) ne {}} {set method flushdb}
    if {"::redis::redisHandle$id" ne $direct && $::redis::blocking($id) && !$::redis::deferred($id)
            && [dict exists $administration $name]} {
        set subcommands [dict get $administration $name]
        if {$subcommands eq "*" || [string tolower [lindex $argv 0]] in $subcommands} {
            return [::tenant::ask $method $argv]
        }
    }
    tailcall ::tenant::dispatch $id $method $argv
}

proc ::tenant::ask {method argv} {
    variable direct
    variable keyed
    if {$direct eq {}} {
        set direct [redis 127.0.0.1 $::env(TENANT_SERVER_PORT)]
        $direct select 9
    }
    if {[string tolower $method] eq "debug" && [string tolower [lindex $argv 0]] in $keyed} {
        lset argv 1 $::env(TENANT_PREFIX)[lindex $argv 1]
    }
    return [$direct $method {*}$argv]
}
