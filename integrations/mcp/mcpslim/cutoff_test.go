package mcpslim

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/seed31b3bfd0/slimgo/session"
	"github.com/seed31b3bfd0/slimgo/session/sessiontest"
)

// Who is cut off from its node for so long that messages are given up has calls that fail, and none that wait for ever, whichever end it is, and
// whether requests or results were under way. No call is executed twice, and what is called after that on a new connection works.
func TestCutOffEnds(t *testing.T) {
	for _, plain := range []bool{false, true} {
		for _, who := range [][]string{{aliceName}, {serverName}, {aliceName, serverName}} {
			for _, away := range []time.Duration{5 * time.Second, 13 * time.Second, 25 * time.Second, 70 * time.Second} {
				synctest.Test(t, func(t *testing.T) {
					net := sessiontest.New(t, sessiontest.Options{Quiet: true})
					b := serve(t, net.App(serverName), ServerOptions{})
					app := net.App(aliceName)
					var mu sync.Mutex
					next, runs := 0, map[int]int{}
					mcp.AddTool(b.tools, &mcp.Tool{Name: "once"}, func(_ context.Context, _ *mcp.CallToolRequest, in countIn) (*mcp.CallToolResult, any, error) {
						mu.Lock()
						runs[in.N]++
						mu.Unlock()
						time.Sleep(30 * time.Millisecond)
						return text("done"), nil, nil
					})
					s := connect(t, app, session.SessionOptions{Plain: plain}, nil)
					stop := make(chan struct{})
					var calls sync.WaitGroup
					for range 4 {
						calls.Go(func() {
							for over := false; !over; {
								mu.Lock()
								next++
								n := next
								mu.Unlock()
								began := time.Now()
								ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
								_, err := call(ctx, s, "once", countIn{n})
								cancel()
								if took := time.Since(began); took > away+time.Minute {
									t.Errorf("plain=%v, %v cut off for %v: a call takes %v, and ends with %v", plain, who, away, took, err)
								}
								select {
								case <-stop:
									over = true
								default:
									over = err != nil
								}
							}
						})
					}
					time.Sleep(time.Second)
					for _, name := range who {
						net.Disconnect(name)
					}
					time.Sleep(away)
					for _, name := range who {
						net.Reconnect(name)
					}
					close(stop)
					calls.Wait()
					for n, k := range runs {
						if k > 1 {
							t.Errorf("call %d was executed %d times", n, k)
						}
					}
					_ = s.Close()
					again := connect(t, app, session.SessionOptions{Plain: plain}, nil)
					wantCall(t, again, "echo", textIn{"hi"}, "you said hi")
					_ = again.Close()
					time.Sleep(time.Minute) // the session of before ends at the other end
					b.close(t)
				})
			}
		}
	}
}

// What was not delivered is the error of the connection.
func TestWhatIsNotDelivered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := sessiontest.New(t, sessiontest.Options{Quiet: true})
		b := serve(t, net.App(serverName), ServerOptions{})
		s := connect(t, net.App(aliceName), session.SessionOptions{}, nil)
		net.Disconnect(aliceName)
		if _, err := call(t.Context(), s, "echo", textIn{"hi"}); !errors.Is(err, ErrNotDelivered) {
			t.Errorf("%v, want ErrNotDelivered", err)
		}
		net.Reconnect(aliceName)
		_ = s.Close()
		b.close(t)
	})
}
