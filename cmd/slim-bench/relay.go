package main

import (
	"context"
	"fmt"
	"net"

	"github.com/spf13/pflag"

	"github.com/seed31b3bfd0/slimgo/bench/relay"
)

func relayCommand() command {
	return command{
		name:   "relay",
		hidden: true,
		about: `slim-bench relay carries the messages of a benchmark without looking at them: no names, no links, no MACs. It is the
floor that nodes are held against; slim-bench starts it by itself.`,
		examples: "  slim-bench relay --listen 127.0.0.1:7000\n",
		flags:    func(fs *pflag.FlagSet) any { return fs.String("listen", "127.0.0.1:0", "address and port") },
		run:      func(ctx context.Context, p *program, opt any, _ []string) error { return p.relay(ctx, *opt.(*string)) },
	}
}

func (p *program) relay(ctx context.Context, listen string) error {
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	fmt.Fprintln(p.stderr, "relay listens on", l.Addr())
	return relay.Serve(ctx, l)
}
