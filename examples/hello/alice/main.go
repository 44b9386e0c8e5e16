// Command alice opens a session with bob.
package main

import (
	"context"
	"log"

	"github.com/seed31b3bfd0/slimgo/session"
)

func main() {
	ctx := context.Background()
	app := must(session.Connect(ctx, session.Options{Name: session.MustName("org/demo/alice"), Secret: []byte("a secret that both have, 32 bytes or more")}))
	s := must(app.Open(ctx, session.MustName("org/demo/bob"), session.SessionOptions{}))
	must(s.Publish(ctx, session.Text("hello")))
	log.Printf("bob answers: %s", must(s.Receive(ctx)).Data)
	_ = s.Close(ctx)
}

func must[T any](v T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return v
}
