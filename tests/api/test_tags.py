from harness import Api


def test_tagging_twice_tells_one_event(api: Api) -> None:
    lead_id = api.create("ada@shop.example")
    for _ in range(2):
        answer = api.on("ada@shop.example", "assign_tag", tag_name=" trial USER ")
        assert answer["message"] == "Tag added to lead"
    assert [kind for kind, _ in api.events(lead_id)] == ["lead_created", "tag_assigned"]
    assert api.lead("ada@shop.example")["tags"] == [{"tag_name": "Trial user"}]


def test_a_stranger_finds_no_lead(api: Api, stranger: Api) -> None:
    lead_id = api.create("ada@shop.example")
    answer = stranger.call({"cmd": "assign_tag", "tag_name": "Trial user"}, lead={"id": lead_id})
    assert answer == {"status": "Error", "message": "No lead found", "type": "243"}
