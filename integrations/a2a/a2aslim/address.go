package a2aslim

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/seed31b3bfd0/slimgo/session"
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
