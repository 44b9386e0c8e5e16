package identity_test

import (
	"context"
	"fmt"
	"log"

	"github.com/seed31b3bfd0/slimgo/session"
	"github.com/seed31b3bfd0/slimgo/session/identity"
)

// A name and a password for a node. They have nothing to do with who the app is for others, which Secret says here.
func ExampleBasic() {
	user, err := identity.Basic("alice", "password")
	if err != nil {
		log.Fatal(err)
	}
	o := session.Options{
		Name: session.MustName("org/ns/alice"), Secret: []byte("a secret of all, 32 bytes or more"),
		Nodes: []string{"https://node.example:46357"}, Authorization: user,
	}
	shown, err := o.Authorization.Authorization(context.Background()) // as the app does whenever it connects
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(shown)
	// Output: Basic YWxpY2U6cGFzc3dvcmQ=
}
