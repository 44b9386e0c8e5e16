package main

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/seed31b3bfd0/slimgo/bench/relay"
	"github.com/seed31b3bfd0/slimgo/bench/scenario"
	"github.com/seed31b3bfd0/slimgo/internal/suggest"
)

func (p *program) listCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "list [NAME…]",
		Long:    "slim-bench list [NAME…] shows scenarios with their cases and parameters, and suites with what they require.",
		Example: "  slim-bench list\n  slim-bench list p2p ci\n",
		RunE:    func(_ *cobra.Command, args []string) error { return p.list(args) },
	}
}

func (p *program) list(names []string) error {
	wanted := func(name string) bool { return len(names) == 0 || slices.Contains(names, name) }
	scenarios, err := scenario.Scenarios()
	if err != nil {
		return err
	}
	known := scenario.Suites()
	for _, s := range scenarios {
		known = append(known, s.Name)
	}
	for _, n := range names {
		if !slices.Contains(known, n) {
			return fmt.Errorf("no scenario or suite %q%s", n, suggest.Hint(n, known))
		}
	}
	for _, s := range scenarios {
		if !wanted(s.Name) {
			continue
		}
		fmt.Fprintf(p.stdout, "%-8s %s\n", s.Name, s.About)
		fmt.Fprintf(p.stdout, "%-8s   flags  --%s\n", "", strings.Join(s.Uses, " --"))
		for _, c := range s.Cases {
			fmt.Fprintf(p.stdout, "%-8s   case   %s\n", "", s.Label(c))
		}
	}
	for _, name := range scenario.Suites() {
		if !wanted(name) {
			continue
		}
		s, err := scenario.LoadSuite(name)
		if err != nil {
			return err
		}
		fmt.Fprintf(p.stdout, "\nsuite %s: %s\n", s.Name, s.About)
		if len(names) > 0 {
			fmt.Fprint(p.stdout, s)
		}
	}
	return nil
}

func (p *program) relayCommand() *cobra.Command {
	var listen string
	c := &cobra.Command{
		Use: "relay", Hidden: true,
		Long: `slim-bench relay carries the messages of a benchmark without looking at them: no names, no links, no MACs. It is the
floor that nodes are held against; slim-bench starts it by itself.`,
		Example: "  slim-bench relay --listen 127.0.0.1:7000\n",
		RunE:    func(c *cobra.Command, _ []string) error { return p.relay(c.Context(), listen) },
	}
	c.Flags().StringVar(&listen, "listen", "127.0.0.1:0", "address and port")
	return c
}

func (p *program) relay(ctx context.Context, listen string) error {
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	fmt.Fprintln(p.stderr, "relay listens on", l.Addr())
	return relay.Serve(ctx, l)
}
