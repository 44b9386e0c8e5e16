// Command slim-bench puts load on SLIM nodes and measures them from outside.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/seed31b3bfd0/slimgo/bench/relay"
	"github.com/seed31b3bfd0/slimgo/bench/result"
	"github.com/seed31b3bfd0/slimgo/bench/scenario"
	"github.com/seed31b3bfd0/slimgo/internal/cli"
	"github.com/seed31b3bfd0/slimgo/internal/suggest"
)

// Exit codes.
const (
	exitOK      = 0
	exitFailed  = 1 // a condition does not hold
	exitInvalid = 2 // the command line, or a measurement that shows nothing
)

// program is one call.
type program struct {
	args           []string
	stdin          io.Reader
	stdout, stderr io.Writer
}

const intro = `slim-bench measures SLIM nodes from outside: what they deliver, how late, and what it costs them.

Usage
  slim-bench run SCENARIO… | FILE.yaml… [flags]    measure
  slim-bench run --suite NAME | FILE.yaml [flags]  measure, and judge by conditions
  slim-bench top FILE                              see what a run with --live FILE does
  slim-bench compare OLD.json NEW.json             what changed between two results
  slim-bench list                                  scenarios and suites
  slim-bench receive NAME                          see messages, on this machine or another
  slim-bench send NAME                             send them
  slim-bench COMMAND --help                        flags and examples

Examples
  slim-bench run p2p                               this machine, this build's node
  slim-bench run p2p fanout --target node.example:46357
  slim-bench run --suite smoke --node 'slim --config {config}'
  slim-bench run --suite behaviour --report out    what is no matter of speed, as a page
  slim-bench run p2p --versus 'rust=/opt/slim/slim --config {config}'
  slim-bench receive org/demo/bob                  and, in another shell:
  echo hello | slim-bench send org/demo/bob

Exit codes: 0 all conditions hold; 1 one does not; 2 the command line is wrong, or the run shows nothing (the node was
gone, the generator was the limit, too noisy to tell, interrupted).
`

// run is the whole program: arguments in, exit code out.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	p := &program{args: args, stdin: stdin, stdout: stdout, stderr: stderr}
	err := p.commands().ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	fmt.Fprintln(stderr, "slim-bench:", err)
	if errors.Is(err, errFailed) {
		return exitFailed
	}
	return exitInvalid
}

func (p *program) commands() *cobra.Command {
	b := cli.ReadBuildInfo()
	root := &cobra.Command{
		Use: "slim-bench", Long: intro, Version: strings.TrimSpace(b.Version + " " + b.SHA), SilenceErrors: true, SilenceUsage: true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
		Args:              noCommand,
		RunE:              func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.SetArgs(p.args)
	root.SetOut(p.stdout)
	root.SetVersionTemplate("{{.Name}} {{.Version}}\n")
	root.SetFlagErrorFunc(flagError)
	root.PersistentPreRunE = consistent
	root.SetHelpFunc(func(c *cobra.Command, _ []string) {
		fmt.Fprint(p.stdout, c.Long)
		if c.HasParent() {
			fmt.Fprintf(p.stdout, "\n\nExamples\n%s\nFlags\n%s", c.Example, c.LocalFlags().FlagUsagesWrapped(110))
		}
	})
	root.AddCommand(p.runCommand(), p.topCommand(), p.compareCommand(), p.listCommand(), p.sendCommand(), p.receiveCommand(), p.relayCommand(), p.appsCommand())
	for _, c := range root.Commands() {
		c.Flags().SortFlags = false
	}
	return root
}

// noCommand names the nearest command to an unknown one.
func noCommand(root *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	var names []string
	for _, c := range root.Commands() {
		if c.IsAvailableCommand() {
			names = append(names, c.Name())
		}
	}
	return fmt.Errorf("no command %q%s (slim-bench --help)", args[0], suggest.Hint(args[0], names))
}

// consistent refuses flags that are given but empty, as an unset variable of a shell makes them, and those that exclude others.
func consistent(c *cobra.Command, _ []string) (err error) {
	c.Flags().Visit(func(f *pflag.Flag) {
		if v := f.Value.String(); strings.TrimSpace(v) == "" || strings.HasPrefix(v, "[") && strings.Trim(v, "[]\", ") == "" { // [ begins lists
			err = fmt.Errorf("--%s is given, but empty", f.Name)
		}
	})
	if names := result.Exclusive(c.Flags().Changed); names != nil {
		err = fmt.Errorf("--%s exclude each other", strings.Join(names, " and --"))
	}
	return err
}

// flagError names the nearest flag to an unknown one.
func flagError(c *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) {
		return fmt.Errorf("%w (%s --help)", err, c.CommandPath())
	}
	var names []string
	c.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, "--"+f.Name) })
	name := "--" + strings.TrimLeft(unknown.GetSpecifiedName(), "-")
	return fmt.Errorf("no flag %s%s (%s --help)", name, suggest.Meant(name, names), c.CommandPath())
}

func (p *program) listCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "list [NAME…]",
		Long:    "slim-bench list [NAME…] shows scenarios with their cases and parameters, and suites with what they require.",
		Example: "  slim-bench list\n  slim-bench list p2p ci\n",
		RunE:    func(_ *cobra.Command, args []string) error { return p.list(args) },
	}
}

func (p *program) list(names []string) error {
	unwanted := func(name string) bool { return len(names) > 0 && !slices.Contains(names, name) }
	scenarios, err := scenario.Scenarios()
	if err != nil {
		return err
	}
	known := append(scenario.Suites(), suggest.Names(scenarios, func(s scenario.Scenario) string { return s.Name })...)
	for _, n := range names {
		if !slices.Contains(known, n) {
			return fmt.Errorf("no scenario or suite %q%s", n, suggest.Hint(n, known))
		}
	}
	var b strings.Builder
	for _, s := range scenarios {
		if unwanted(s.Name) {
			continue
		}
		fmt.Fprintf(&b, "%-8s %s\n", s.Name, s.About)
		fmt.Fprintf(&b, "%-8s   flags  --%s\n", "", strings.Join(s.Uses, " --"))
		for _, c := range s.Cases {
			fmt.Fprintf(&b, "%-8s   case   %s\n", "", s.Label(c))
		}
	}
	for _, name := range slices.DeleteFunc(scenario.Suites(), unwanted) {
		s, err := scenario.LoadSuite(name)
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "\nsuite %s: %s\n", s.Name, s.About)
		if len(names) > 0 {
			fmt.Fprint(&b, s)
		}
	}
	_, err = io.WriteString(p.stdout, b.String())
	return err
}

func (p *program) relayCommand() *cobra.Command {
	var listen string
	c := &cobra.Command{
		Use: "relay", Hidden: true,
		Long: `slim-bench relay carries the messages of a benchmark without looking at them: no names, no links, no MACs. It is the
floor that nodes are held against; slim-bench starts it by itself.`,
		Example: "  slim-bench relay --listen 127.0.0.1:7000\n",
		RunE: func(c *cobra.Command, _ []string) error {
			l, err := net.Listen("tcp", listen)
			if err != nil {
				return err
			}
			fmt.Fprintln(p.stderr, "relay listens on", l.Addr())
			return relay.Serve(c.Context(), l.(*net.TCPListener))
		},
	}
	c.Flags().StringVar(&listen, "listen", "127.0.0.1:0", "address and port")
	return c
}

func (p *program) appsCommand() *cobra.Command {
	return &cobra.Command{
		Use: scenario.AppsCommand, Hidden: true,
		Long:    "slim-bench " + scenario.AppsCommand + " plays the apps that receive in sessions; slim-bench starts it by itself.",
		Example: "  slim-bench run session\n",
		RunE:    func(c *cobra.Command, _ []string) error { return scenario.PlayApps(c.Context(), p.stdin, p.stdout) },
	}
}

func main() {
	ends := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // by nohup
		ends = append(ends, syscall.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(context.Background(), ends...)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
