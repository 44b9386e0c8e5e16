package rpc_test

import (
	"context"
	"io"
	"syscall"
	"testing"

	"github.com/seed31b3bfd0/slimgo/router"
	"github.com/seed31b3bfd0/slimgo/session"
	"github.com/seed31b3bfd0/slimgo/session/rpc"
)

// What a message of 1 KiB costs in a stream of replies, and in a session alone: processor time of both apps and of the node between them.
func BenchmarkStream(b *testing.B) {
	apps := func(b *testing.B) (server, client *session.App) {
		n, err := router.Start(b.Context(), router.Options{NodeID: "stream"})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = n.Shutdown(context.Background()) })
		var all []*session.App
		for _, name := range []string{"server", "client"} {
			a, err := session.Connect(b.Context(), session.Options{
				Name: session.MustName("org/ns/" + name), Secret: []byte("a secret of both, 32 bytes or more"), InProcess: n, Workers: 1,
			})
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { _ = a.Close(context.Background()) })
			all = append(all, a)
		}
		return all[0], all[1]
	}
	b.Run("replies", func(b *testing.B) {
		server, client := apps(b)
		s := rpc.NewServer(server, rpc.ServerOptions{})
		reply := make(rpc.Raw, 1<<10)
		rpc.HandleServerStream(s, down, func(_ context.Context, _ *rpc.Raw, out *rpc.Sender[rpc.Raw]) error {
			for range b.N {
				if err := out.Send(&reply); err != nil {
					return err
				}
			}
			return nil
		})
		go func() { _ = s.Serve(context.Background()) }()
		defer s.Stop()
		c := rpc.NewClient(client, serverName, rpc.CallOptions{Session: session.SessionOptions{Plain: true}, Timeout: -1})
		defer c.Close(context.Background())
		r, err := rpc.CallServerStream[rpc.Raw, rpc.Raw](b.Context(), c, down, new(rpc.Raw))
		if err != nil {
			b.Fatal(err)
		}
		if _, err := r.Receive(); err != nil {
			b.Fatal(err)
		}
		defer processorTime(b)()
		n := 1
		for ; ; n++ {
			if _, err = r.Receive(); err != nil {
				break
			}
		}
		if err != io.EOF || n != b.N {
			b.Fatalf("%d replies of %d: %v", n, b.N, err)
		}
	})
	b.Run("messages", func(b *testing.B) {
		server, client := apps(b)
		l, err := client.Listen(session.ListenOptions{})
		if err != nil {
			b.Fatal(err)
		}
		s, err := server.Open(b.Context(), session.MustName("org/ns/client"), session.SessionOptions{Plain: true})
		if err != nil {
			b.Fatal(err)
		}
		x, err := l.Accept(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		defer processorTime(b)()
		go func() {
			message := session.Content{Data: make([]byte, 1<<10)}
			for range b.N {
				if _, err := s.Publish(context.Background(), message); err != nil {
					b.Error(err)
					return
				}
			}
		}()
		for range b.N {
			if _, err := x.Receive(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// processorTime reports what the process uses until the end.
func processorTime(b *testing.B) (end func()) {
	read := func() int64 {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return u.Utime.Nano() + u.Stime.Nano()
	}
	b.ReportAllocs()
	b.ResetTimer()
	from := read()
	return func() { b.ReportMetric(float64(read()-from)/float64(b.N), "cpu-ns/op") }
}
