// Command bob answers the first app that opens a session with it.
package main

import (
	"context"
	"log"

	"github.com/seed31b3bfd0/slimgo/session"
)

func main() {
	ctx := context.Background()
	app := must(session.Connect(ctx, session.Options{Name: session.MustName("org/demo/bob"), Secret: []byte("a secret that both have, 32 bytes or more")}))
	s := must(must(app.Listen(session.ListenOptions{})).Accept(ctx))
	log.Printf("alice says: %s", must(s.Receive(ctx)).Data)
	must(s.Publish(ctx, session.Text("hello, alice")))
	_ = app.Close(ctx)
}

func must[T any](v T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return v
}
