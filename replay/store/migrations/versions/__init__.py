"""Each brings the form before to its own. What was released is not edited: it has run on people's stores."""
