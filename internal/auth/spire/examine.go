package spire

import "github.com/seed31b3bfd0/slimgo/internal/auth"

// Examine is VerifyToken for who has a use for tokens that have expired, too: expired says that everything else is right. Members of a
// group stay who they were when they came in (P-id-4).
func (v *Verifier) Examine(text string) (who *auth.Identity, expired bool, err error) {
	who, err = v.VerifyToken(text)
	if err == nil {
		return who, false, nil
	}
	bundles, wrong := v.bundles()
	if wrong != nil {
		return nil, false, err
	}
	t, wrong := parseToken(text)
	if wrong != nil || !v.agent.opt.Now().After(t.expires) || !t.meant(v.opt.Audiences) || t.check(bundles) != nil || !v.opt.Peers.match(t.subject) {
		return nil, false, err
	}
	return &auth.Identity{Mechanism: auth.SPIRE, Subject: t.subject.String(), Issuer: t.issuer, Claims: t.claims(), Expires: t.expires, Proof: t}, true, nil
}
