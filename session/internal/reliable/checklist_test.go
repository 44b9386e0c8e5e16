package reliable

import "testing"

// What upstream's library tests of its buffers of messages, by our words; what shows in sessions is in TestChecklist of package session.
func TestChecklist(t *testing.T) {
	if !long {
		t.Skip("each of them is a test by itself: SLIMGO_TEST_LONG=1 tells them here, too")
	}
	for name, tell := range map[string]func(t *testing.T){
		"messages in order, with gaps that are asked for, filled, gone or not answered, of several senders": TestReceiver,
		"who does not acknowledge comes in no order":                                                        TestUnreliableReceiver,
		"what has no room is not taken, and comes again":                                                    TestWhatHasNoRoomIsNotTaken,
		"who is out is forgotten, and begins anew":                                                          TestForgottenMembersBeginAnew,
		"what is over is forgotten, and asked for no more":                                                  TestReceiverForgetsWhatIsOver,
		"ids go round at 2^31":                                                                              TestIDsGoRound,
		"ids that run ahead are not all asked for":                                                          TestIDsThatRunAhead,
		"messages are delivered when all have acknowledged":                                                 TestDelivered,
		"messages are given up after their repeats":                                                         TestGivenUp,
		"who leaves is not waited for":                                                                      TestEndpointLeaves,
		"what was published while nobody was there waits":                                                   TestNobodyThereYet,
		"what nobody acknowledges is delivered when it is sent":                                             TestUnreliableSender,
		"messages to one are apart":                                                                         TestPublishTo,
		"the oldest goes from the buffer when there are too many":                                           TestLateMessagesAreBounded,
		"no more than a window is under way":                                                                TestWindow,
		"an end settles all":                                                                                TestClosed,
		"networks that lose, double and reorder lose nothing":                                               TestLossyNetworks,
		"networks that are cut lose nothing that was not told of":                                           TestCutNetworks,
	} {
		t.Run(name, tell)
	}
}
