package main

import (
	"fmt"

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
			reload(v.verifier)
			for _, c := range v.further {
				reload(c)
			}
		}
		for _, l := range s.links {
			if a := l.shows.now.Load(); a != nil {
				reload(a.source)
			}
		}
	}
}
