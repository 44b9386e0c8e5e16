package main

import (
	"fmt"
	"slices"

	"github.com/seed31b3bfd0/slimgo/internal/auth"
	"github.com/seed31b3bfd0/slimgo/internal/auth/jwt"
)

// newStaticSource makes what shows the token of a file.
func (p *program) newStaticSource(path string) (auth.Source, error) {
	f, err := jwt.NewStaticFile(path, jwt.Watch{Told: p.tellKeys})
	if err != nil {
		return nil, fmt.Errorf("file: %w", err)
	}
	return f, nil
}

// authSources are what authentication of a service stands on.
func (s *service) authSources() (all []authSource) {
	loads := func(x any) func() *auth.Loads {
		return func() *auth.Loads {
			l, ok := x.(auth.Loader)
			if !ok {
				return nil
			}
			loads := l.Loads()
			return &loads
		}
	}
	for i, v := range s.verified {
		of := authSource{service: s.ID, path: v.path, endpoint: s.endpoints[i], what: "keys", loads: loads(v.judge())}
		all = append(all, of)
		for _, c := range v.further {
			of.what, of.loads = "policy", loads(c)
			all = append(all, of)
		}
	}
	for _, l := range s.links {
		of := authSource{service: s.ID, path: l.path + ".auth", endpoint: l.endpoint, what: "key"}
		if l.client.Auth.Type == "static_jwt" {
			of.what = "token"
		}
		of.loads = func() *auth.Loads { return loads(l.shows.now.Load().source)() } // it may be replaced
		all = append(all, of)
	}
	return all
}

// reloadAuth has all that services judge by, and show, be looked at anew, though nothing tells of a change.
func (p *program) reloadAuth(services []*service) {
	reload := func(x any) {
		switch x := x.(type) {
		case interface{ Reload() }:
			x.Reload()
		case interface{ Reload() error }:
			if err := x.Reload(); err != nil {
				p.tellReload("policy", false, err)
			}
		}
	}
	for _, s := range services {
		for _, v := range s.verified {
			reload(v.judge())
			for _, c := range v.further {
				reload(c)
			}
		}
		for _, l := range slices.Concat(s.links, s.peers.links()) {
			if a := l.shows.now.Load(); a != nil {
				reload(a.source)
			}
		}
	}
}
