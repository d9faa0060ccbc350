from cartwheel.cli import main

main()
