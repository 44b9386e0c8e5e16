package main

import (
	"context"
	"fmt"

	"github.com/spf13/pflag"

	"github.com/seed31b3bfd0/slimgo/internal/admin"
)

// defaultAdmin is where the commands look for a node's server for operators.
const defaultAdmin = "127.0.0.1:9464"

// healthFlags are those of slim health.
type healthFlags struct {
	addr address
	live bool
}

var healthCommand = subcommand{
	usage: "slim health [--addr <ADDR>] [--live]",
	help: `Ask a node whether clients may be sent to it. For containers without a shell or curl.

Usage: slim health [--addr <ADDR>] [--live]

Options:
      --addr <ADDR>   Where the node serves --health: PORT or HOST:PORT [default: 127.0.0.1:9464]
      --live          Ask whether the process is worth to be kept, rather than whether it is ready
  -h, --help          Print help

Exit codes: 0 yes, 1 no or no answer, 2 wrong command line.

Examples:
  slim health
  HEALTHCHECK CMD ["/slim", "health", "--addr", "9464"]
      In a Dockerfile, for a node that was started with --health 9464.
`,
	flags: func(s *pflag.FlagSet) any {
		f := &healthFlags{addr: defaultAdmin}
		s.Var(&f.addr, "addr", "")
		s.BoolVar(&f.live, "live", false, "")
		return f
	},
	run: func(p *program, ctx context.Context, into any, args []string) error {
		f := into.(*healthFlags)
		if len(args) > 0 {
			return usage{fmt.Sprintf("unexpected argument '%s' found", args[0])}
		}
		if err := admin.Probe(ctx, string(f.addr), f.live); err != nil {
			what := "the node is not ready"
			if f.live {
				what = "the node does not live"
			}
			return &failure{context: []string{what}, cause: err}
		}
		fmt.Fprintln(p.stdout, "ok")
		return nil
	},
}
