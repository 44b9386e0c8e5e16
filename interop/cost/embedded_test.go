//go:build gates

package cost

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/internal/usage"
	"github.com/seed31b3bfd0/slimgo/router"
	"github.com/seed31b3bfd0/slimgo/session"
)

const (
	churnGroups = 50
	churnCores  = 0.5 // of a core that the churn takes
)

// TestSessionsBesideTraffic: while 50 groups with MLS churn through apps in the process of a node, at half a core of work, the p99
// of paced traffic through the same node is at most 1.3 times what it is while they churn in another process, through the
// node of that.
func TestSessionsBesideTraffic(t *testing.T) {
	here, there := startEmbedded(t), startEmbedded(t)
	rate := there.calibrate(t)
	once := func(at *embedded) (p99 float64, enough bool) {
		at.tell(t, "churn %f", rate)
		before, began := at.cpu(t), time.Now()
		f := measure(t, "p2p", "--size", "100", "--identity", "constant", "--rate", "2000", "--duration", "8s", "--warmup", "1s",
			"--target", here.addr, "--pid", fmt.Sprint(here.Process.Pid))
		took := time.Since(began).Seconds()
		cores := (at.cpu(t) - before).Seconds() / took
		steps, failed := at.stop(t)
		t.Logf("churn: %.0f steps a second of %.0f, %d failed; its process takes %.2f cores", float64(steps)/took, rate, failed, cores)
		if failed > 0 {
			t.Errorf("%d steps failed of %d", failed, steps)
		}
		return f[0]["p99"], float64(steps) >= 0.9*rate*took
	}
	paced := func(at *embedded) float64 {
		for range 3 { // what others took of the machine is not churn
			if p99, enough := once(at); enough {
				return p99
			}
		}
		t.Fatalf("less than 0.9 of %.0f steps a second, three times", rate)
		return 0
	}
	var same, other []float64
	for i := range *rounds {
		if i%2 == 0 {
			same, other = append(same, paced(here)), append(other, paced(there))
		} else {
			other, same = append(other, paced(there)), append(same, paced(here))
		}
		t.Logf("p99 %.0f µs, beside another process %.0f µs", same[i]/1e3, other[i]/1e3)
	}
	atMost(t, "p99 beside sessions in the process / beside those of another process", ratios(same, other), 1.3)
}

// embedded is a process with a node and two apps in it: this program, as runEmbedded.
type embedded struct {
	*exec.Cmd
	addr  string
	in    *bufio.Writer
	lines *bufio.Scanner
}

const embeddedEnv = "SLIMGO_COST_EMBEDDED"

func startEmbedded(t *testing.T) *embedded {
	t.Helper()
	e := &embedded{Cmd: exec.Command(os.Args[0])}
	e.Env = append(os.Environ(), embeddedEnv+"=1")
	e.Stderr = os.Stderr
	in, err := e.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := e.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close() // it ends
		hang := time.AfterFunc(patience, func() { _ = e.Process.Kill() })
		defer hang.Stop()
		_ = e.Wait()
	})
	e.in, e.lines = bufio.NewWriter(in), bufio.NewScanner(out)
	e.addr = e.line(t)
	return e
}

func (e *embedded) line(t *testing.T) string {
	t.Helper()
	hang := time.AfterFunc(4*patience, func() { _ = e.Process.Kill() })
	defer hang.Stop()
	if !e.lines.Scan() {
		t.Fatal("the process with the apps has ended: ", e.lines.Err())
	}
	return e.lines.Text()
}

// tell gives a command, and waits until it is taken.
func (e *embedded) tell(t *testing.T, format string, args ...any) {
	t.Helper()
	fmt.Fprintf(e.in, format+"\n", args...)
	if err := e.in.Flush(); err != nil {
		t.Fatal(err)
	}
	if got := e.line(t); got != "ok" {
		t.Fatal(got)
	}
}

// stop ends the churn, and returns how many steps it has made, and how many of them failed.
func (e *embedded) stop(t *testing.T) (steps, failed int) {
	t.Helper()
	e.tell(t, "stop")
	if _, err := fmt.Sscanf(e.line(t), "%d %d", &steps, &failed); err != nil {
		t.Fatal(err)
	}
	return steps, failed
}

func (e *embedded) cpu(t *testing.T) time.Duration {
	t.Helper()
	u, err := usage.Of(e.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	return u.CPU
}

// calibrate returns how many steps a second take churnCores: what a step takes is measured twice, since it takes less when there are
// more at a time.
func (e *embedded) calibrate(t *testing.T) float64 {
	t.Helper()
	rate := 50.0
	for range 2 {
		before, began := e.cpu(t), time.Now()
		e.tell(t, "churn %f", rate)
		time.Sleep(4 * time.Second)
		steps, failed := e.stop(t)
		took, cpu := time.Since(began).Seconds(), (e.cpu(t) - before).Seconds()
		t.Logf("%.0f steps a second take %.2f cores; %d failed", float64(steps)/took, cpu/took, failed)
		rate = churnCores * float64(max(steps, 1)) / cpu
	}
	return rate
}

// runEmbedded is a node and two apps, one of which moderates all groups. It obeys the lines that it reads: "churn RATE" begins, at so
// many steps a second, "stop" ends that.
func runEmbedded() error {
	ctx := context.Background()
	n, err := router.Start(ctx, router.Options{Listen: []string{"127.0.0.1:0"}})
	if err != nil {
		return err
	}
	defer func() { _ = n.Shutdown(ctx) }()
	var apps [3]*session.App
	for i := range apps {
		name := session.MustName(fmt.Sprint("org/cost/app", i))
		a, err := session.Connect(ctx, session.Options{Name: name, Secret: []byte("a secret of all, 32 bytes or more"), InProcess: n})
		if err != nil {
			return err
		}
		defer func() { _ = a.Close(ctx) }()
		apps[i] = a
	}
	for _, a := range apps[1:] {
		l, err := a.Listen(session.ListenOptions{})
		if err != nil {
			return err
		}
		go drain(ctx, l)
	}
	c := &churn{moderator: apps[0], guest: apps[2].Name()}
	for i := range churnGroups {
		g, err := apps[0].OpenGroup(ctx, session.MustName(fmt.Sprint("org/cost/group", i)), session.SessionOptions{})
		if err != nil {
			return err
		}
		if err := g.Invite(ctx, apps[1].Name()); err != nil {
			return err
		}
		c.groups = append(c.groups, g)
	}
	fmt.Println(n.Addrs()[0])
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		verb, arg, _ := strings.Cut(lines.Text(), " ")
		fmt.Println("ok")
		if verb == "stop" {
			fmt.Println(c.stop())
			continue
		}
		rate, err := strconv.ParseFloat(arg, 64)
		if err != nil {
			return err
		}
		c.start(ctx, rate)
	}
	return nil
}

// drain reads what comes in every session.
func drain(ctx context.Context, l *session.Listener) {
	for s, err := range l.Sessions(ctx) {
		if err != nil {
			return
		}
		go func() {
			for _, err := range s.Messages(ctx) {
				if err != nil {
					return
				}
			}
		}()
	}
}

// churn is groups in which a guest comes, something is said, and the guest goes, over and over.
type churn struct {
	moderator *session.App
	groups    []*session.Session
	guest     session.Name

	cancel        context.CancelFunc
	all           sync.WaitGroup
	steps, failed atomic.Int64
}

// start has the groups make rate steps a second together.
func (c *churn) start(ctx context.Context, rate float64) {
	ctx, c.cancel = context.WithCancel(ctx)
	c.steps.Store(0)
	c.failed.Store(0)
	turns := make(chan struct{}, churnGroups)
	c.all.Go(func() {
		for tick, due := time.NewTicker(time.Millisecond), 0.0; ; {
			select {
			case <-tick.C:
			case <-ctx.Done():
				tick.Stop()
				return
			}
			for due += rate / 1000; due >= 1; due-- {
				select {
				case turns <- struct{}{}:
				default: // all groups have one: the steps that are missing are counted
				}
			}
		}
	})
	for _, g := range c.groups {
		c.all.Go(func() {
			for inside := false; ; {
				select {
				case <-turns:
				case <-ctx.Done():
					if inside {
						_ = g.Remove(context.WithoutCancel(ctx), c.guest)
					}
					return
				}
				if err := c.step(context.WithoutCancel(ctx), g, &inside); err != nil { // not broken off: the next churn goes on from here
					fmt.Fprintln(os.Stderr, "cost:", g.Self(), err)
					c.failed.Add(1)
				}
				c.steps.Add(1)
			}
		})
	}
}

// step is that the guest comes or goes, and eight messages that everybody gets.
func (c *churn) step(ctx context.Context, g *session.Session, inside *bool) error {
	change := g.Invite
	if *inside {
		change = g.Remove
	}
	if err := change(ctx, c.guest); err != nil {
		return err
	}
	*inside = !*inside
	var all [8]*session.Delivery
	for i := range all {
		d, err := g.Publish(ctx, session.Text("something is said"))
		if err != nil {
			return err
		}
		all[i] = d
	}
	var errs []error
	for _, d := range all {
		errs = append(errs, d.Wait(ctx))
	}
	return errors.Join(errs...)
}

func (c *churn) stop() (steps, failed string) {
	c.cancel()
	c.all.Wait()
	return fmt.Sprint(c.steps.Load()), fmt.Sprint(c.failed.Load())
}
