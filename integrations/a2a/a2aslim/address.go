package a2aslim

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/a2aproject/a2a-go/a2a"

	"github.com/seed31b3bfd0/slimgo/session"
)

// Transport is what the cards of agents call SLIMRPC that upstream's libraries make, and what cards for them have to say. Clients of this
// package know the URIs of the binding's text, too.
const Transport a2a.TransportProtocol = "slimrpc"

var transportNames = []a2a.TransportProtocol{
	Transport, "https://a2a-protocol.org/bindings/experimental-slimrpc", "https://a2a-protocol.org/bindings/experimental-slimrpc/v1",
}

func isSLIMRPC(t a2a.TransportProtocol) bool { return slices.Contains(transportNames, t) }

// Versions as cards write them.
const (
	version1  = "1.0"
	version03 = "0.3"
)

// ParseURL returns the name of the app that the URL of an agent's interface stands for: org/ns/app, as upstream's cards have it, or
// slim://org/ns/app or slim://node:port/org/ns/app, as the binding's text has it. The node says nothing: an app calls by the one that it is
// connected to.
func ParseURL(text string) (session.Name, error) {
	path := text
	if rest, ok := strings.CutPrefix(text, "slim://"); ok {
		if path = rest; strings.Count(path, "/") == 3 {
			_, path, _ = strings.Cut(path, "/")
		}
		var err error
		if path, err = url.PathUnescape(path); err != nil {
			return session.Name{}, fmt.Errorf("the agent's URL %q: %w", text, err)
		}
	}
	name, err := session.ParseName(path)
	if err != nil {
		return session.Name{}, fmt.Errorf("the agent's URL %q is neither org/ns/app nor slim://[node/]org/ns/app: %w", text, err)
	}
	return name, nil
}
