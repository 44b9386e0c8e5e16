package main

const usageLine = "slim [OPTIONS] [--config <FILE> | --version]"

// helpText is what --help prints; a test compares it with the flags and the router's defaults.
const helpText = `The SLIM node: moves messages between the applications and nodes that connect to it.

Usage: ` + usageLine + `
       slim <COMMAND> [OPTIONS]

Commands, each with a --help of its own:
  health   Ask a running node whether it is ready; for containers
  top      Show what a running node does
  config   Check configurations, or show one as it takes effect

Without --config (and without the variable CONFIG) the node is insecure and listens on 127.0.0.1:46357.

Options:
  -c, --config <FILE>   YAML configuration, as upstream's node reads it [env: CONFIG]
      --strict-config   Refuse a configuration that gives warnings, such as an unknown key
  -v, --version         Print version, build date, commit and profile
  -h, --help            Print help

Speed and memory, for each service:
      --loops <N>                  Event loops, 1 to 128, each using up to one processor
                                   [default: half of the processors]
      --read-buffer <BYTES>        Read buffer of a loop, 4KiB to 64MiB [default: 128KiB]
      --conn-buffer <BYTES>        Bytes that may wait for one receiver, 16KiB or more [default: 1MiB]
      --slow-consumer <POLICY>     What happens when that buffer is full; goes before slow_consumer of the
                                   configuration [default: adaptive]
                                     adaptive    senders wait for it; once it is stalled, its messages are dropped
                                     block       senders wait, however long it takes
                                     drop        its messages are dropped at once
                                     disconnect  senders wait for it; once it is stalled, it is closed
      --stall-timeout <DURATION>   Time below the stall rate after which a full receiver is stalled, such as
                                   250ms or 2s; longer for one that takes much at once [default: 250ms]
      --stall-rate <BYTES>         Bytes a second that a full receiver must take [default: 256KiB]
      --hold-timeout <DURATION>    Time after which a receiver is stalled that keeps others waiting and takes less
                                   than four times the stall rate [default: 5s]
      --max-subscriptions <N>      Subscriptions that one connection may hold; if it is not given, no more than half of
                                   --max-names [default: 1048576]
      --max-header <BYTES>         Header of a message, which is made anew for each receiver, 1KiB or more
                                   [default: 64KiB]
      --header-memory <BYTES>      What may be remembered of headers, to save work [default: 32MiB]

Who may come, and with how many names:
      --max-names <N>              Subscriptions of the node, with those that peers tell
                                   [default: one for each 4KiB of memory]
      --max-name-bytes <BYTES>     Bytes of text that are kept of names [default: 128 for each of --max-names]
      --max-sockets <N>            Sockets of the node; clients beyond that wait to be accepted
                                   [default: one for each 64KiB of memory]
      --max-connections <N>        Connections of the node; further ones are refused [default: likewise]
      --max-unfinished <BYTES>     Memory of messages that have not arrived whole, 8MiB or more
                                   [default: a thirty-second of memory]
      --max-queued <BYTES>         Memory of messages that wait for receivers, 1MiB or more; beyond that all
                                   senders wait, and a quarter beyond it messages are dropped, those first that
                                   wait for the receiver with most of them
                                   [default: an eighth of memory]
      --accept-kinds <KINDS>       What a connection may be: some of edge, remote and peer, with commas between;
                                   a remote link goes before all edge connections [default: edge,remote,peer]
      --max-peers <N>              Links of peer nodes, 1 to 256 [default: 256]
      --max-remotes <N>            Links of remote nodes [default: 1024]

For operators:
      --no-compression             Refuse what comes compressed, and compress for nobody
      --no-deregister              Stop without telling control planes, as upstream's node does: they wait for it
      --health <ADDR>              Serve /livez, /readyz, /metrics (Prometheus) and /status (a page, and for slim top)
                                   over HTTP at PORT, on this machine only, or at HOST:PORT [default: not at all]
      --status                     Show connections and names to everybody who can reach --health, rather than on this
                                   machine only
      --pprof                      Serve /debug/pprof/ there, to the same people
      --strict-auth                Demand more of tokens than upstream's node: aud and iss, that nbf and iat are past,
                                   and keys of listed issuers alone, by https
      --auth-issuers <URLS>        Whose keys may be fetched because a token names them (key.type autoresolve), besides
                                   claims.issuer; with commas between [default: anybody's]
      --audit-log <FILE>           Append a JSON line to it for each decision who may connect, and for each connection
                                   that ends because it is not allowed any more; - for standard output
                                   [default: not at all]

Log, on standard output:
      --log-level <LEVEL>          trace, debug, info, warn, error or off; goes before RUST_LOG and
                                   tracing.log_level [default: info]
      --log-format <FORMAT>        text or json, one record a line [default: text]

Sizes are bytes, or end in KiB, MiB or GiB; no number may be 0.

Signals:
  SIGTERM, SIGINT   Stop: accept nothing more, deliver what is held, and end within runtime.drain_timeout
                    [default: 10s]; a second one ends the node at once
  SIGHUP            Load configuration and certificates anew, as when their files change: all that can change while the
                    node runs, or nothing if something is wrong; open the audit log again; if its terminal has been
                    closed: SIGTERM
  SIGUSR1           Log the counters: connections, names, messages, and why messages and peers were refused

Exit codes: 0 stopped in order, 1 error, 2 wrong command line.

Examples:
  slim
      A node for trying out: insecure, on this machine only.
  slim --config node.yaml --strict-config
      Refuse to start on a typing error in the file.
  slim --health 9464
      Then: slim health, slim top, or http://127.0.0.1:9464/status in a browser.
  CONFIG=/etc/slim/node.yaml slim --loops 4 --slow-consumer disconnect --log-format json
      A node of a cluster that closes receivers which do not keep up.
`
