"""`/ui`: the page that shows all that a gateway's servers serve, made with NiceGUI.

`mounting` puts it into the application, `gate` lets in who may, `page` lays it out. Each panel has a file and is a
client of the gateway's clients, nothing else: it draws when `pace` says that the browser has drawn what came before,
and what all browsers ask for, `polls` asks once. No route of the API is here, and nothing of how servers are reached.
"""
