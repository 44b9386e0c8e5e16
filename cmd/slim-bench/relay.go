package main

import (
	"context"
	"fmt"
	"net"

	"github.com/spf13/pflag"

	"github.com/seed31b3bfd0/slimgo/bench/relay"
	"github.com/seed31b3bfd0/slimgo/bench/relay/grpcgo"
	"github.com/seed31b3bfd0/slimgo/internal/suggest"
)

// relayOptions are the flags of relay.
type relayOptions struct{ listen, engine string }

func relayCommand() command {
	return command{
		name:   "relay",
		hidden: true,
		about: `slim-bench relay carries the messages of a benchmark without looking at them: no names, no links, no MACs. It is the
floor that nodes are held against; slim-bench starts it by itself.`,
		examples: "  slim-bench relay --listen 127.0.0.1:7000\n" +
			"  slim-bench run p2p --node 'blind:slim-bench relay --engine grpc-go --listen {listen}'\n",
		flags: func(fs *pflag.FlagSet) any {
			o := new(relayOptions)
			fs.StringVar(&o.listen, "listen", "127.0.0.1:0", "address and port")
			fs.StringVar(&o.engine, "engine", "own", "own: the node's engine; grpc-go: what one would write with grpc-go")
			return o
		},
		run: func(ctx context.Context, p *program, opt any, _ []string) error {
			return p.relay(ctx, opt.(*relayOptions))
		},
	}
}

func (p *program) relay(ctx context.Context, o *relayOptions) error {
	serve := map[string]func(context.Context, net.Listener) error{"own": relay.Serve, "grpc-go": grpcgo.Serve}[o.engine]
	if serve == nil {
		return fmt.Errorf("no engine %q%s", o.engine, suggest.Hint(o.engine, []string{"own", "grpc-go"}))
	}
	l, err := net.Listen("tcp", o.listen)
	if err != nil {
		return err
	}
	fmt.Fprintln(p.stderr, "relay listens on", l.Addr())
	return serve(ctx, l)
}
