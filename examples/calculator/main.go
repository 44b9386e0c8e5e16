// Command calculator is a service of calculator.proto, and a client of it: calls of all shapes, encrypted from end to end.
//
//	export SLIM_SECRET='a secret of both, 32 bytes or more'
//	calculator &
//	calculator -name org/demo/alice -of org/demo/calculator 1 2 3
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strconv"

	"github.com/seed31b3bfd0/slimgo/examples/calculator/calculatorpb"
	"github.com/seed31b3bfd0/slimgo/session"
	"github.com/seed31b3bfd0/slimgo/session/rpc"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Getenv, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "calculator:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, env func(string) string, out io.Writer) error {
	f := flag.NewFlagSet("calculator", flag.ContinueOnError)
	name := f.String("name", "org/demo/calculator", "own name")
	of := f.String("of", "", "the calculator to ask; empty: be one")
	if err := f.Parse(args); err != nil {
		return err
	}
	me, err := session.ParseName(*name)
	if err != nil {
		return fmt.Errorf("-name: %w", err)
	}
	o := session.Options{Name: me, Secret: []byte(env("SLIM_SECRET")), Logger: slog.Default()}
	if node := env("SLIM_ADDR"); node != "" {
		o.Nodes = []string{node}
	}
	app, err := session.Connect(ctx, o)
	if err != nil {
		return err
	}
	defer func() { _ = app.Close(context.WithoutCancel(ctx)) }()
	if *of == "" {
		return serve(ctx, app)
	}
	server, err := session.ParseName(*of)
	if err != nil {
		return fmt.Errorf("-of: %w", err)
	}
	client := rpc.NewClient(app, server, rpc.CallOptions{})
	defer func() { _ = client.Close(context.WithoutCancel(ctx)) }()
	return ask(ctx, calculatorpb.NewCalculatorClient(client), f.Args(), out)
}

// serve serves until it is interrupted.
func serve(ctx context.Context, app *session.App) error {
	server := rpc.NewServer(app, rpc.ServerOptions{})
	calculatorpb.RegisterCalculatorServer(server, calculator{})
	if err := server.Serve(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// calculator serves the service.
type calculator struct {
	calculatorpb.UnimplementedCalculatorServer
}

func (calculator) Add(_ context.Context, p *calculatorpb.Pair) (*calculatorpb.Number, error) {
	return &calculatorpb.Number{Value: p.GetA() + p.GetB()}, nil
}

func (calculator) Count(_ context.Context, last *calculatorpb.Number, to *rpc.Sender[calculatorpb.Number]) error {
	if last.GetValue() < 0 {
		return rpc.Errorf(rpc.InvalidArgument, "nobody counts up to %d", last.GetValue())
	}
	for i := int64(1); i <= last.GetValue(); i++ {
		if err := to.Send(&calculatorpb.Number{Value: i}); err != nil {
			return err
		}
	}
	return nil
}

func (calculator) Sum(_ context.Context, from *rpc.Receiver[calculatorpb.Number]) (*calculatorpb.Number, error) {
	sum := new(calculatorpb.Number)
	for n, err := range from.All() {
		if err != nil {
			return nil, err
		}
		sum.Value += n.GetValue()
	}
	return sum, nil
}

func (calculator) Running(_ context.Context, both *rpc.BidiStream[calculatorpb.Number, calculatorpb.Number]) error {
	sum := new(calculatorpb.Number)
	for n, err := range both.All() {
		if err != nil {
			return err
		}
		sum.Value += n.GetValue()
		if err := both.Send(sum); err != nil {
			return err
		}
	}
	return nil
}

// ask has numbers added up in all ways that there are.
func ask(ctx context.Context, c calculatorpb.CalculatorClient, args []string, out io.Writer) error {
	var numbers []*calculatorpb.Number
	for _, arg := range args {
		v, err := strconv.ParseInt(arg, 10, 64)
		if err != nil {
			return fmt.Errorf("number %q: want a whole one, of 64 bits at most", arg)
		}
		numbers = append(numbers, &calculatorpb.Number{Value: v})
	}
	last, err := c.Add(ctx, &calculatorpb.Pair{A: int64(len(numbers))})
	if err != nil {
		return err
	}
	count, err := c.Count(ctx, last)
	if err != nil {
		return err
	}
	for n, err := range count.All() {
		if err != nil {
			return err
		}
		fmt.Fprintln(out, "number", n.GetValue())
	}
	running, err := c.Running(ctx)
	if err != nil {
		return err
	}
	defer running.Close()
	sum, err := c.Sum(ctx)
	if err != nil {
		return err
	}
	for _, n := range numbers {
		if err := errors.Join(sum.Send(n), running.Send(n)); err != nil {
			return err
		}
		so, err := running.Receive()
		if err != nil {
			return err
		}
		fmt.Fprintln(out, "so far", so.GetValue())
	}
	all, err := sum.CloseAndReceive()
	if err != nil {
		return err
	}
	fmt.Fprintln(out, "sum", all.GetValue())
	if err := running.CloseSend(); err != nil {
		return err
	}
	if _, err := running.Receive(); err != io.EOF { // the server's end: only then it is done
		return err
	}
	return nil
}
