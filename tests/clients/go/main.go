// Go with nothing but its standard library. url.Values encodes sorted by key: actions before credentials and lead.
package main

import (
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"net/url"
	"os"
)

type result struct {
	Message     string `json:"message"`
	Type        string `json:"type"`
	LeadDetails struct {
		ID string `json:"id"`
	} `json:"lead_details"`
}

type answer struct {
	Status      string              `json:"status"`
	Message     string              `json:"message"`
	AccountTags []string            `json:"account_tags"`
	Actions     []map[string]result `json:"actions"`
	LeadDetails struct {
		FirstName string `json:"first_name"`
		Score     int    `json:"score"`
		Tags      []struct {
			Name string `json:"tag_name"`
		} `json:"tags"`
	} `json:"lead_details"`
}

func (a answer) messages() []string {
	found := []string{}
	for _, element := range a.Actions {
		for _, r := range element {
			found = append(found, r.Message)
		}
	}
	return found
}

func call(lead map[string]string, actions []map[string]string, getLead string) answer {
	form := url.Values{}
	for _, name := range []string{"app_id", "api_key", "api_password"} {
		form.Set(name, os.Getenv(map[string]string{"app_id": "APP_ID", "api_key": "API_KEY", "api_password": "API_PASSWORD"}[name]))
	}
	for name, value := range lead {
		form.Set("lead["+name+"]", value)
	}
	for i, action := range actions {
		for name, value := range action {
			form.Set(fmt.Sprintf("actions[%d][%s]", i, name), value)
		}
	}
	if getLead != "" {
		form.Set("get_lead[email]", getLead)
	}
	response, err := http.PostForm(os.Getenv("API_URL"), form)
	if err != nil {
		log.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		log.Fatal(response.Status)
	}
	var a answer
	if err := json.NewDecoder(response.Body).Decode(&a); err != nil {
		log.Fatal(err)
	}
	return a
}

func main() {
	email := os.Getenv("EMAIL")
	account := call(nil, []map[string]string{{"cmd": "retrieve_account_tags"}}, "")
	created := call(
		map[string]string{"email": email, "first_name": os.Getenv("FIRST_NAME")},
		[]map[string]string{
			{"cmd": "create_lead"},
			{"cmd": "assign_tag", "tag_name": "Trial user"},
			{"cmd": "subscribe_lead_to_list", "list_name": "Newsletter"},
		}, "")
	id := created.Actions[0]["create_lead"].LeadDetails.ID
	tagged := call(
		map[string]string{"id": id},
		[]map[string]string{
			{"cmd": "assign_tag", "tag_name": "Customer"},
			{"cmd": "assign_tag", "tag_name": "Trial user"},
		}, "")
	found := call(nil, nil, email)
	unknown := call(nil, nil, "nobody@shop.example")
	tags := []string{}
	for _, tag := range found.LeadDetails.Tags {
		tags = append(tags, tag.Name)
	}
	json.NewEncoder(os.Stdout).Encode(map[string]any{
		"account_tags": account.AccountTags,
		"id":           id,
		"created":      created.messages(),
		"tagged":       tagged.messages(),
		"first_name":   found.LeadDetails.FirstName,
		"tags":         tags,
		"unknown":      unknown.Status == "Error" && unknown.Message == "No lead found",
	})
}
