// Package mls is Messaging Layer Security (RFC 9420): groups whose members agree on keys as they come and go, such that those who are not
// members, the delivery service among them, read nothing, and those who were removed read nothing any more. It has all of the RFC, the
// cipher suites 1 to 7, and suite 65100 of the Rust library mls-rs (ML-KEM-768 with X25519). It knows no sockets, no clocks and no
// goroutines but those that share out the work of one call; what is said on the wire and when is for its caller.
//
// # Use
//
// A [Config] is a client: suite, credential, signature key, and what it thinks of others' credentials. It makes key packages
// ([Config.NewKeyPackage]), with which others add it, and it creates groups ([Create]) or joins them: by a welcome ([Join]) or by a
// commit of its own ([JoinExternal]). A [Group] protects application data ([Group.Protect]), takes every message of the others
// ([Group.Process]), proposes ([Group.Propose]) and commits ([Group.Commit]).
// What a session of SLIM does with all this is the example Slim (example_slim_test.go).
//
// Process is three steps, for those who have other processors for signatures: the owner of the group decrypts
// ([Group.Unprotect]), anyone verifies the signature ([Unverified.Verify]), and the owner accepts the message in its
// turn ([Verified.Accept]). A message happens when it is accepted, and then as if it were processed at that moment.
//
// A commit, ours or another's, comes as a [Change]: verified as a whole, and without any effect until it is applied. It
// says who made it, who comes, goes and is another after it, by whose proposal, and what else it does. The caller decides
// and then calls [Change.Apply] or [Change.Discard]. Ours is applied when the delivery service has put it before those of
// others for the same epoch, never before; where nobody else commits, at once.
//
//	Create          Join(welcome)          JoinExternal(group info)
//	   │                  │                    │ Wipe, if its commit is refused
//	   ▼                  ▼                    ▼
//	┌───────────────── active, epoch n ──────────────────┐
//	│ Protect, Process(application)    one key is spent  │
//	│ Propose, Process(proposal)       one more waits    │
//	│ Commit, Process(commit) ──▶ Change                 │
//	│ Sent                             one less is kept  │
//	└───────────────────────────────┬────────────────────┘
//	         ▲             ▲        │
//	         │   Discard   │        │ Apply
//	         └─────────────┼────────┤
//	                       │        ├── SelfRemoved ──▶ removed: all secrets are wiped
//	           epoch n+1,  │        │
//	        nothing waits  └────────┤
//	                                └── ReInit ──▶ ended: late messages of past epochs are read, nothing is sent;
//	                                               Continue makes the group that follows, Join(Continues) enters it
//
// # What may be relied on
//
// Whatever is refused leaves the group as it was. Errors are [*Error] and tell this side what was wrong and by which
// section; nothing of them is meant for the peer. Every decoder is bounded by its input and by [Limits]; bytes after a
// message and lengths in a longer form than needed are refused.
//
// Keys are gone when the RFC says so: that of a message when it has been accepted or made, ratchet and tree secrets
// when what they give has been derived, those of an epoch with it, but for what late messages and resumption need, for
// as many epochs as the [Config] says. Secrets are values that cannot be printed, copied unseen (go vet) or compared
// with ==. Go may still have moved or spilled what is wiped: that is out of this package's hands.
//
// Randomness and time come from the Config. The same of both gives the same bytes, except that ECDSA on P-384 and P-521 signs with
// nonces of the system.
//
// Methods of one Group, and of its Changes and messages, must not overlap, but for [Unverified.Verify], which may
// overlap with all of them. Different groups may be used at the same time and share a Config, whose callbacks, Rand and
// KeyPackages must then be safe for that; [MemoryStore] and crypto/rand are. Slices that are given are not kept unless
// it is said, but for those in proposals, extensions, credentials and names of pre-shared keys, which must not change
// any more; slices that are returned are the caller's unless they are called borrowed.
//
// # State
//
// A group is kept by saving it. [Group.Save] gives what is not known to be stored, in parts sealed under
// Config.StateKey, and says which older parts that makes obsolete; the caller writes and deletes them, in one
// transaction or in that order, and calls [Saved.Done]. The next Save need not wait for that: each holds all that no
// Done has confirmed. [Restore] makes the group of all parts that are stored.
//
//	Part    | holds                                            | is written
//	public  | context and tree, or what has changed of it      | with each commit
//	secret  | keys, ratchets, proposals, commits on their way  | with each commit, Commit and Discard, and after 64 messages or more
//	message | which keys were used, proposals that came, and   | otherwise: 18 bytes a message, and some 110 around them
//	        | which commits were sent                          |
//
// A part belongs to one group, by its id, to one member, by the name that its [StateKey] has, and to one history of
// both: it names the part that it stands on by number and tag. Parts of another group, member or history, and gaps, are
// refused. That a whole store was put back to what it was before, or lost its newest parts, cannot be told; who does so
// uses keys again.
//
// So do two Groups made of one store that are in use at the same time, in one program or in two. A store finds that out
// that takes a part only if its number is above all that are there, or if it is there already, byte for byte: any other
// is of another Group, and what was made since the last Save is neither sent nor handed over. Not to overwrite is not
// enough, since numbers become free when parts are deleted. It takes that each [Saved] is written, in their order:
// where one is left out for a later one, the numbers of a second Group can be above those of the first.
//
// What is said and handed over comes after what is stored. One Save covers all that was done before it, so that several
// messages can share it. Process stands for the steps that it has as well: a message happens when it is accepted, and
// a Save before that knows nothing of it.
//
//	After                            | is saved before                            | and a crash before that
//	Create, JoinExternal             | anything of it is sent                     | leaves nothing; the next one is another group, or joiner
//	Join                             | the welcome is acknowledged                | leaves the key package: the welcome is joined again ([Saved] names it)
//	Protect                          | the message is sent                        | uses its key for another message, and nobody has seen this one
//	Propose, ProposeUpdate           | the proposal is sent                       | the same; the proposal does not wait any more
//	Commit                           | the commit is sent                         | the same; the change is lost
//	Commit that is kept, and Apply   | the commit is sent                         | the same; later it is among [Group.Unsent]
//	Sent                             | nothing                                    | sends it once more
//	Process of application data      | it is handed over and acknowledged         | takes the message once more, with the same Epoch, Sender and Generation
//	Process of a proposal            | it is acknowledged                         | takes it once more
//	Process of a commit              | nothing: nothing has changed yet           | takes it once more
//	Apply                            | the commit is acknowledged                 | takes the commit once more; ours is among [Group.Outstanding]
//	Discard, DropPending, Wipe       | the secrets have to be gone from the store | leaves them there
//
// Application data is handed over at most once if it is saved before. It is handed over at least once if the
// application's store keeps it, under Epoch, Sender and Generation, from before the group is saved (or in the same
// transaction) until the application has acknowledged it: after a crash what is kept is handed over, and what is
// processed once more is the same under the same name. What comes again after it was saved is Replayed, or a commit of
// an epoch that is over, which is PastEpoch: it is acknowledged, and no more.
//
// A commit of this member is saved as it waits for the delivery service. After a restart [Group.Outstanding] gives what
// waits, to be sent again or compared with what comes back; Process says Own of it. When one of them is applied, or
// another member's commit, the rest end: Apply says PastEpoch, and the next Save holds them no more. So the welcomes of
// a commit that was accepted are sent before the Save that follows Apply, or it is kept ([CommitOptions].Keep). A Change
// that Process gave is not saved: its commit is processed again. Neither is the commit that JoinExternal gives: it is
// kept by the application, in the transaction that stores the group, until it has been sent.
//
// Who alone commits, as a moderator of SLIM does, need not wait for anybody: it keeps its commit and applies it, saves
// once, and sends commit and welcomes, after a restart too ([Group.Unsent]), until all have them and [Change.Sent] says
// so.
//
// Keys leave the store with the part that replaces the one they are in: those of an epoch with the commit that ends it,
// those of messages after 64 messages or more, or with [Group.SaveAll]. Until then who has the store and the StateKey
// can read again what was read or sent in that time (compare section 9.2).
//
// Who was removed has nothing left to keep: all parts of the group can be deleted once the commit is acknowledged.
// Until then they say that it was, and hold no more of the others.
//
// Messages of an epoch that is not here yet are not kept: FutureEpoch says that a commit is missing, for which the
// caller, who knows how they are delivered, waits or asks.
//
// # Members of mls-rs, and what is left open
//
// Groups of SLIM hold members of the Rust library mls-rs. What is made here, both it and the RFC allow; what it refuses
// is refused; where the RFC is stricter, what others made is followed as mls-rs does, unless [Config.Strict] is set.
// One rule is narrower than the RFC's for that reason: application_id, and any other extension type of the RFC, is in
// no leaf node (section 7.3).
//
// A proposal that waits keeps this member from sending (section 12.4) as long as it is valid: where members who may not
// commit could be muted so, Config.Proposals refuses it when it arrives. A commit can be processed again until one is
// applied, so its handshake key lives until then (section 9.2); of an epoch that is over the ratchets of members who
// have sent nothing are not derived, so that the secret above both of their ratchets stays as long as late messages are
// accepted. Other members may change the capabilities and extensions of their leaf at any time, and are judged by them
// then (section 7.3); our own leaf keeps those that it had when it joined, and gets others only by joining again.
// What makes two credentials one client's (sections 5.3.3, 12.2) is for Config.Client to say. Without it a client may be
// in a group more than once with other keys, where mls-rs asks its identity provider; external commits remove a member
// with the joiner's own credential only, as there (section 12.4.3.2).
//
// # Words
//
//	client      who a member is, whatever leaf, keys and credential it has now ([Config].Client)
//	own         this member's: its leaf ([Group.Own]), its proposals, messages that it sent ([Own])
//	by value    a proposal that stands in a commit; what waits for one is committed by reference
//	protect     make the message of a content; unprotect: decrypt it; accept: let it happen
//	seal, open  what AEADs and HPKE do
//	derive      make secrets and ratchets of the secrets above them
//	key         of an AEAD, for one message; else it has its kind: encryption keys (public) and private keys are HPKE's,
//	            a signer is a private and a verifier a public signature key, key packages hold public keys
//	Change      a commit before it happens; it is applied or discarded
//
// # Where the sections of the RFC are
//
// Checks are one function each, named check…; the last column holds the working group's vectors and the tests that fail without the rule.
// A test of this package holds the table against the code.
//
//	Section    | File                         | Functions                                              | Vectors and tests
//	2.1        | internal/codec/reader.go     | Opaque Vector Optional Finish                          | deserialization.json TestVarintForms FuzzReader
//	4.1        | tree.go                      | resolution filteredPath                                | tree-validation.json treekem.json
//	5.1        | internal/suite/registry.go   | Lookup All                                             | crypto-basics.json TestKeysOfEverySuite TestUnknownSuite
//	5.1.1      | internal/hpke/kem.go         | Generate                                               | TestPublishedVectors TestKeysComeFromTheGivenRandomness
//	5.1.2      | internal/suite/suite.go      | SignWithLabel VerifyWithLabel                          | crypto-basics.json FuzzVerifier TestSignedTextsAreWiped
//	5.1.2      | internal/p256/sign.go        | Sign derive sign                                       | TestGivenNonce TestSignaturesVerify TestNonces TestNoncesThatDoNotServe
//	5.1.2      | internal/p256/verify.go      | Verify verify parseDER                                 | FuzzVerify TestWycheproof TestEdgesOfSignatures TestLargeX TestSums
//	5.1.2      | internal/edwards/verify.go   | Verify verify sum                                      | FuzzVerify TestWycheproof TestSmallOrder TestMixedOrder
//	5.1.3      | internal/suite/suite.go      | EncryptWithLabel DecryptWithLabel                      | crypto-basics.json TestDamageIsRefused FuzzOpen
//	5.2        | internal/suite/suite.go      | RefHash                                                | crypto-basics.json
//	5.3        | credential.go                | append readCredential                                  | messages.json FuzzParseMessage
//	5.3        | credential.go                | certificateKey certifiedFor checkCertificate           | TestX509Credentials TestHostileProposals
//	5.3.1      | policy.go                    | judge                                                  | TestPolicy TestProposedSeesTheGroup TestPresentedSeesTheGroup TestExternalSendersAreJudged TestHostileExternalCommits TestNobodyIsBelievedUnasked
//	5.3.1      | clients.go                   | checkSameClient checkOwnLeaf                           | TestClientsReplaceTheirOwnLeaf TestExternalCommitsTakeOutTheJoiner TestCredentialsOfNobody
//	5.3.3, 12.2 | clients.go                  | checkClients checkMembers checkState                   | TestClientsAreInAGroupOnce TestJoinersSeeClientsOnce TestProposalsOfTheSameClient TestStatesOfOtherClients
//	6          | message.go                   | ParseMessage parse read                                | messages.json FuzzParseMessage
//	6.1        | framing.go                   | tbs newAuthenticated checkSignature                    | message-protection.json TestHostileMemberCommits
//	6.1        | process.go                   | senderKey judgeProposer                                | TestExternalSendersAreJudged TestHostileMemberCommits TestHostileExternalCommits TestHostileOutsiders
//	6.2        | framing.go                   | protectPublic checkMembership                          | message-protection.json TestMembershipTags TestMessagesInTheNameOfTheReceiver
//	6.2        | process.go                   | processPublic ownPublic sent                           | TestOwnMessages TestMessagesInTheNameOfTheReceiver
//	6.3.1      | protection.go                | protect unprotect decrypt                              | message-protection.json TestHostileContents TestOwnMessages
//	6.1, 6.3.1 | steps.go                     | Unprotect Verify signatureHolds acceptable             | TestStepsAreProcess TestHostileMessagesInSteps TestGroupsThatGoOnMeanwhile TestMessagesUnderWayAreBounded FuzzSteps
//	6.3.1      | secrettree.go                | guard                                                  | message-protection.json
//	6.3.2      | secrettree.go                | parseSenderData senderDataKey                          | secret-tree.json TestHostileContents
//	7.1        | validate.go                  | checkUnmerged checkParentKeys                          | tree-validation.json TestHostileTrees
//	7.2        | leafnode.go                  | appendUnsigned readLeafNode tbs verify                 | tree-validation.json messages.json
//	7.3        | validate.go                  | checkLeafSource checkLeafKeys checkLeafExtensions      | TestHostileKeyPackages TestHostileProposals TestHostileMemberCommits
//	7.2, 7.3   | validate.go                  | checkLeafLifetime checkLeafLifetimeLength              | TestExpiredKeyPackages TestLifetimes TestHostileKeyPackages
//	7.2        | validate.go                  | checkCapabilities checkStrictLeaf checkStrictPackage   | TestRefusedAsByMLSRS TestStrictRules
//	12.1.8.1   | validate.go                  | checkLeafSenders                                       | TestRefusedAsByMLSRS
//	17.3       | extension.go                 | checkContextPlaces                                     | TestStrictRules
//	17.3       | list.go                      | checkStrict                                            | TestStrictRules
//	7.3        | validate.go                  | checkLeafRequired checkGroupExtensions                 | TestGroupContextExtensions TestHostileTrees TestHostileMemberCommits TestRequirementsOfEveryLeaf
//	7.3        | validate.go                  | checkUnique checkCredentialTypes                       | TestHostileKeyPackages TestManyKeyPackagesAtOnce TestHostileTrees TestCredentialTypes
//	7.3        | list.go                      | checkNewKey                                            | TestHostileProposals TestHostileMemberCommits TestHostileExternalCommits
//	7.4        | treekem.go                   | keyPair up climb                                       | treekem.json
//	7.5        | treekem.go                   | refreshPath mergePath mergeUpdatePath decryptPath      | treekem.json TestHostileMemberCommits TestPathsThatDoNotFit
//	7.6        | treekem.go                   | encryptPath recipients                                 | treekem.json
//	7.7        | tree.go                      | vacant shrink                                          | tree-operations.json TestGrowAndShrink
//	7.8        | treehash.go                  | hash rehash leaf parent                                | tree-validation.json tree-operations.json
//	7.9        | treehash.go                  | parentHash hashWithout                                 | tree-validation.json
//	7.9.2      | treehash.go                  | checkParentHashes chained                              | tree-validation.json TestHostileTrees TestParentHashes TestTreesOfManyHistories
//	8          | schedule.go                  | deriveJoiner derive                                    | key-schedule.json
//	8          | epoch.go                     | start advance                                          | key-schedule.json passive-client-handling-commit.json
//	8.1        | welcome.go                   | readGroupContext                                       | key-schedule.json
//	8.2        | schedule.go                  | confirmedHash interimHash                              | transcript-hashes.json
//	8.3        | process.go                   | externalInit                                           | key-schedule.json TestExternalJoin TestHostileExternalCommits
//	8.4        | psk.go                       | pskSecret                                              | psk_secret.json TestPreSharedKeys
//	8.5        | schedule.go                  | export                                                 | key-schedule.json
//	8.6        | group.go                     | ResumptionPSK                                          | key-schedule.json TestPreSharedKeys
//	8.7        | group.go                     | EpochAuthenticator                                     | passive-client-random.json
//	9, 9.1     | secrettree.go                | ratchet deriveLeaf key                                 | secret-tree.json TestReplayAndReordering
//	9.2        | secrettree.go                | hold spend step evict                                  | TestUsedGenerationsAreGone TestOldEpochsAreGone TestMemoryIsWiped TestLateRatchetsOfHandshakesAreWiped
//	9.2        | epoch.go                     | wipe                                                   | TestMemoryIsWiped TestOldEpochsAreGone
//	9.2        | state.go                     | Save SaveAll Done Replace Restore                      | TestCrashAtEveryWrite TestSavesInAnyOrder TestKeysLeaveTheStore TestPartsThatAreRefused TestReplacedGroups TestReplacedParts
//	14         | outstanding.go               | Outstanding Unsent Sent                                | TestCommitsOnTheirWay TestCrashAtEveryWrite TestUnsentCommits TestModeratorCrashesAtEveryWrite
//	10         | keypackage.go                | readKeyPackage sign Ref                                | messages.json
//	10         | client.go                    | NewKeyPackage newLeaf                                  | TestLifeOfAGroup TestKeyPackagesThatAreMade TestRandomnessThatFails
//	10         | client.go                    | ParsePrivateKeyPackage parseKeys                       | TestPrivateKeyPackagesThatAreRefused
//	10.1       | keypackage.go                | checkVersion checkSignature checkInitKey               | TestHostileKeyPackages TestKeysOfLowOrder
//	10.1       | validate.go                  | checkKeyPackage                                        | TestHostileKeyPackages
//	11         | group.go                     | Create                                                 | TestGroupOfOne TestCreateMakesAnID TestExtensionsStandOnce TestReInitToAnEmptyID
//	11.1       | extension.go                 | requiredCapabilities                                   | TestGroupContextExtensions TestHostileMemberCommits TestExtensionsStandOnce
//	11.2       | successor.go                 | Continue checkSuccessor                                | TestReInit TestReInitToTheSameName TestHostileSuccessors TestOriginIsProved
//	11.3       | successor.go                 | Branch checkSuccessor                                  | TestBranch TestHostileSuccessors
//	12.1       | proposal.go                  | appendProposal readProposal                            | messages.json
//	12.1.1     | tree.go                      | add                                                    | tree-operations.json
//	12.1.1     | list.go                      | checkAdds                                              | TestHostileKeyPackages
//	12.1.2     | tree.go                      | update                                                 | tree-operations.json
//	12.1.2     | list.go                      | checkUpdates                                           | TestHostileProposals TestHostileMemberCommits
//	12.1.3     | tree.go                      | remove                                                 | tree-operations.json
//	12.1.3     | list.go                      | checkRemoves                                           | TestHostileMemberCommits TestHostileProposals
//	12.1.4     | list.go                      | checkPSKs                                              | TestHostileMemberCommits TestHostileProposals
//	12.1.5     | list.go                      | checkReInit                                            | TestHostileMemberCommits TestHostileProposals
//	12.1.6     | list.go                      | checkExternalInit                                      | TestHostileMemberCommits TestHostileExternalCommits
//	12.1.7     | list.go                      | checkExtensions                                        | TestHostileMemberCommits TestExtensionsStandOnce
//	12.1.8     | list.go                      | checkSenders checkProposer                             | TestHostileOutsiders
//	12.1.8     | process.go                   | admit checkRoom keep                                   | TestProposalsFromOutside TestHostileProposals TestRoomForProposals TestBytesOfWaitingProposals TestProposalsThatAreValidTogether
//	12.1.8     | propose.go                   | ProposeFromOutside ProposeSelf sendable                | TestProposalsFromOutside TestExpiredKeyPackages TestKeyPackagesAreNotShared
//	12.2       | list.go                      | check checkTypes checkOncePerLeaf checkSupported       | TestHostileMemberCommits TestHostileExternalCommits TestProposalsOfOtherTypes
//	12.2       | list.go                      | checkLimits                                            | TestLimits
//	12.2       | tree.go                      | checkDepth readTree                                    | TestDepthOfTheTree TestLimits
//	12.4       | choose.go                    | list eligible judgeWaiting                             | TestCommitterChoosesAmongProposals TestPendingProposalsThatDoNotGoTogether TestProposalsThatAreValidTogether
//	12.4       | list.go                      | valid                                                  | TestKeyPackagesThatExpireWhileTheyWait TestPendingProposalsThatDoNotGoTogether
//	12.4       | process.go                   | due                                                    | TestKeyPackagesThatExpireWhileTheyWait
//	12.3       | list.go                      | apply change                                           | passive-client-handling-commit.json TestDifferentialHistories
//	12.4       | list.go                      | needsPath                                              | TestHostileMemberCommits
//	12.4.1     | commit.go                    | Commit newPath makePath                                | TestLifeOfAGroup TestDifferentialHistories
//	12.4.2     | process.go                   | receive checkPath takePath followCommit                | passive-client-handling-commit.json TestHostileMemberCommits TestHostileExternalCommits
//	12.4.2     | change.go                    | describe                                               | TestChangesSayWhatTheyDo
//	12.4.2     | validate.go                  | checkPathKeys                                          | TestHostileMemberCommits
//	12.4.3     | welcome.go                   | sign checkSignature                                    | welcome.json TestHostileWelcomes TestHostileGroupInfos
//	12.4.3.1   | commit.go                    | welcomes                                               | TestSeparateWelcomesAndTreeApart
//	12.4.3.1   | join.go                      | Join openSecrets checkPSKNames checkOrigin openInfo checkContext enter | passive-client-welcome.json TestHostileWelcomes TestWelcomesThatAreRefused TestHostileSuccessors
//	12.4.3.1   | validate.go                  | checkTreeHash checkLeaves checkReceived                | tree-validation.json TestHostileTrees TestHostileWelcomes TestHostileGroupInfos
//	12.4.3.2   | external.go                  | JoinExternal externalCommit                            | TestExternalJoin TestHostileGroupInfos TestGroupInfoWithoutExternalPub
//	12.4.3.3   | tree.go                      | append readTree                                        | tree-validation.json FuzzTree
//	13.4       | extension.go                 | readExtensions check checkContextExtensions            | messages.json TestExtensionsStandOnce TestListsWithoutEnd
//	13.5       | types.go                     | greaseValue                                            | TestGREASE
//	14         | change.go                    | Apply Discard                                          | TestChangesHappenAsAWhole TestEndedGroupsStayEnded TestKeysHaveOneOwner
//	15         | commit.go                    | Protect                                                | message-protection.json TestAllocsOfApplicationMessages TestMessagesThatNobodyWouldTake
//	15.1       | policy.go                    | PadStep                                                | TestPadding
//	C          | internal/treemath/treemath.go | Root Left Right Parent Sibling DirectPath              | tree-math.json
//	(private)  | internal/hpke/hybrid.go      | Encapsulate Decapsulate combine                        | TestSuite65100Vectors
package mls
